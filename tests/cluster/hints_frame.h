// What the programs share that check object mode: steps in common, blocks known to all, and the choice of a check.
#pragma once

#include <dsm/hints.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>

#define EXPECT(condition)                                                                        \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      std::fprintf(stderr, "node %u: line %d: not so: %s\n", dsm::node(), __LINE__, #condition); \
      std::_Exit(1);                                                                             \
    }                                                                                            \
  } while (false)

namespace hints_test {

// All nodes, in step.
inline void meet() {
  static dsm::barrier* const barrier = [] {
    if (dsm::node() == 0) dsm::publish("meet", dsm::make<dsm::barrier>(dsm::nodes()));
    return static_cast<dsm::barrier*>(dsm::lookup("meet"));
  }();
  barrier->arrive_and_wait();
}

// A block made by node 0 with `make`, known to all.
template <typename T>
T* shared(const char* name, std::function<T*()> make) {
  if (dsm::node() == 0) dsm::publish(name, make());
  return static_cast<T*>(dsm::lookup(name));
}

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
