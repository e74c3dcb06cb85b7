// The queues of the objects homed here for which somebody waits. Service thread only.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "proto/object.h"
#include "runtime/calls.h"
#include "runtime/objects.h"

namespace dsm::runtime {

class ObjectQueues {
 public:
  explicit ObjectQueues(Node& node) : node_(node) {}
  void ask(std::uint64_t address, proto::Turn turn, Caller caller);
  void freed(std::uint64_t address);

 private:
  struct Line {
    proto::Queue queue;
    std::vector<proto::Turn> turns;
    std::vector<Caller> callers;  // turns[i] is callers[i]'s
  };
  void run(std::uint64_t address, Line& line, proto::QueueEventKind kind);

  Node& node_;
  std::unordered_map<std::uint64_t, Line> lines_;
};

}  // namespace dsm::runtime
