// A request of a spawned function, and its answer, which whoever comes first takes from the table of calls. A node has
// a bounded number of them under way (kMostFlights), and who wants one more waits for the end of any of them, whether
// somebody has asked for its result or not: so a program may have as many futures as it likes.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "base/types.h"
#include "runtime/calls.h"

namespace dsm::placed {

// Half of the table of calls: the rest is for locks, allocations and the like.
inline constexpr std::size_t kMostFlights = runtime::Calls::kSlots / 2;

// Any thread of the program may call any of it.
class Flight {
 public:
  // Waits for a place, and sends.
  static std::shared_ptr<Flight> begin(runtime::Node& node, NodeId to, runtime::Operation operation,
                                       const std::array<std::uint64_t, 3>& args);

  std::uint64_t wait();                      // the answer
  bool has_landed(std::int64_t timeout_ns);  // whether the answer has been taken, within that time

 private:
  void take_answer();  // holding mutex_, with a call

  std::mutex mutex_;                   // call_; whoever waits for the answer holds it
  std::optional<runtime::Call> call_;  // none before it is sent, and once the answer has been taken
  std::uint64_t answer_ = 0;           // written before landed_
  std::atomic<bool> landed_{false};
};

}  // namespace dsm::placed
