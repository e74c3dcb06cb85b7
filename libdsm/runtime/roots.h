// Named roots and collective allocation. Both are kept by node 0's service thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/blocks.h"
#include "runtime/calls.h"

namespace dsm::runtime {

class Roots {
 public:
  explicit Roots(Node& node);

  bool publish(std::string_view name, void* pointer);            // false: a bad name
  void* lookup(std::string_view name, std::int64_t timeout_ms);  // negative: for ever; nullptr on timeout
  void* collective(std::size_t bytes, Place place);

 private:
  struct Root {
    bool known = false;
    std::uint64_t value = 0;
    std::vector<Caller> waiting;
  };
  struct Collective {
    bool known = false;
    std::uint64_t address = 0;
    unsigned served = 0;
    std::vector<Caller> waiting;
  };
  void serve();
  void* make_collective(std::size_t bytes, Place place);

  Node& node_;
  std::uint64_t collectives_ = 0;                   // how many this node has asked for
  std::map<std::string, Root, std::less<>> roots_;  // node 0 only, as the next
  std::map<std::uint64_t, Collective> blocks_;
};

}  // namespace dsm::runtime
