// Whom a thread waits for that has borrowed something: the threads, on whatever nodes, without whose borrows' end it
// cannot go on. Nodes ask each other for it; the answers are what was so a moment ago.
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <vector>

#include "base/types.h"
#include "runtime/pins.h"

namespace dsm::runtime {

struct Node;

// A thread of the job.
struct ThreadId {
  NodeId node;
  pid_t tid;
  auto operator<=>(const ThreadId&) const = default;
};

// A wait as it was seen; the same `state` later is the same wait. 0: the thread does not wait.
struct SeenWait {
  std::uint64_t state = 0;
  std::uint64_t address = 0;
  WaitKind kind() const { return ThreadWait::kind_of(state); }
};

// Requests, and waits for the answers: not for the threads that others wait for (service, holds, faults).
SeenWait wait_of(Node& node, ThreadId thread);
std::vector<ThreadId> obstacles(Node& node, ThreadId waiter, const SeenWait& wait);
// The node of the holder, one of the obstacles, says in its log what that has borrowed and what it waits for itself,
// and where in the program; or that somebody has waited for it for long.
void say_circle(Node& node, ThreadId holder, ThreadId waiter, const SeenWait& wait);
void say_long(Node& node, ThreadId holder, ThreadId waiter, const SeenWait& wait);

void serve_obstacles(Node& node);

}  // namespace dsm::runtime
