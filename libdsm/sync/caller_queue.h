// Queues of callers that wait for an answer. All of a server's queues take their places from one pool, which is mapped
// once and holds every call that can be in flight, so that nothing is allocated while a request is handled: that may
// happen in signal context.
#pragma once

#include <cstdint>

#include "runtime/calls.h"

namespace dsm::sync {

using runtime::Caller;

class CallerPool {
 public:
  CallerPool();
  ~CallerPool();
  CallerPool(const CallerPool&) = delete;
  CallerPool& operator=(const CallerPool&) = delete;

  bool full() const { return first_free_ == 0 && used_ == kPlaces; }  // more requests than honest nodes can make

 private:
  friend class CallerQueue;
  static constexpr std::uint32_t kPlaces = kMaxNodes * runtime::Calls::kSlots + 1;
  struct Place {
    Caller caller;
    std::uint32_t next;  // 0: none
  };
  std::uint32_t take();
  void give(std::uint32_t place);

  Place* places_;  // place 0 is never used
  std::uint32_t first_free_ = 0;
  std::uint32_t used_ = 1;  // places from here on were never taken
};

// First in, first out. All zero is an empty queue; it must be empty when it ends.
class CallerQueue {
 public:
  bool empty() const { return count_ == 0; }
  std::uint32_t size() const { return count_; }
  void push(CallerPool& pool, Caller caller);
  Caller pop(CallerPool& pool);                  // REQUIRES: !empty()
  bool remove(CallerPool& pool, Caller caller);  // false if it is not there

 private:
  std::uint32_t first_ = 0;
  std::uint32_t last_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace dsm::sync
