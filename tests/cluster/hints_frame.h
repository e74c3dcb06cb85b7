// What the programs share that check object mode: blocks of objects, and the choice of a check.
#pragma once

#include <dsm/hints.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>

#include "tests/cluster/node_frame.h"

namespace hints_test {

using node_test::meet;
using node_test::shared;

// `count` objects of zeros that share no granule with anything else.
template <typename T>
T* block(std::size_t count, dsm::placement where = dsm::local, std::size_t alignment = 64) {
  void* memory = dsm::alloc((count * sizeof(T) + 63) / 64 * 64, alignment, where);
  EXPECT(memory != nullptr);
  std::memset(memory, 0, count * sizeof(T));
  return static_cast<T*>(memory);
}

inline int run(const std::map<std::string, std::function<void()>>& checks, int argc, char** argv) {
  if (argc < 2 || !checks.contains(argv[1])) {
    std::fprintf(stderr, "usage: %s NAME, which is one of:", argv[0]);
    for (const auto& [name, check] : checks) std::fprintf(stderr, " %s", name.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  if (dsm::start()) return 2;
  checks.at(argv[1])();
  return 0;
}

}  // namespace hints_test
