// What the programs share that check something on every node of a job: a condition, steps in common, blocks known to
// all.
#pragma once

#include <dsm/dsm.h>

#include <cstdio>
#include <cstdlib>
#include <functional>

#define EXPECT(condition)                                                                        \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      std::fprintf(stderr, "node %u: line %d: not so: %s\n", dsm::node(), __LINE__, #condition); \
      std::_Exit(1);                                                                             \
    }                                                                                            \
  } while (false)

namespace node_test {

// Whether memory whose home is `home` was made for that node: its own, or a memory node's.
inline bool is_of(unsigned home, unsigned node) { return home == node || home >= dsm::nodes(); }

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

}  // namespace node_test
