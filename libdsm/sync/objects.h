// What a home keeps for each of its synchronisation objects, as pure state machines: an operation of a caller comes in,
// answers to this and other callers go out. Callers are served in the order of their coming.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "runtime/calls.h"

namespace dsm::sync {

using runtime::Caller;

struct Answer {
  Caller caller;
  std::uint64_t value;
};
using Answers = std::vector<Answer>;

// Values of answers. Large ones are complaints: the caller's program is wrong.
inline constexpr std::uint64_t kNo = 0;
inline constexpr std::uint64_t kYes = 1;
inline constexpr std::uint64_t kNoSuchObject = ~std::uint64_t{0};      // there is none, or it is of another kind
inline constexpr std::uint64_t kBadArgument = ~std::uint64_t{0} - 1;

class Barrier {
 public:
  void arrive(Caller caller, std::uint64_t parties, Answers& answers);  // kYes when all have come
  std::size_t waiting() const { return here_.size(); }

 private:
  std::uint64_t parties_ = 0;  // of the arrivals so far
  std::vector<Caller> here_;   // fewer than parties_
};

// Nobody waits while count > 0.
class Semaphore {
 public:
  static constexpr std::uint64_t kMostCount = std::uint64_t{1} << 62;
  void acquire(Caller caller, Answers& answers);      // kYes when it has been acquired
  void try_acquire(Caller caller, Answers& answers);  // kYes or kNo at once
  void release(Caller caller, std::uint64_t count, Answers& answers);
  std::size_t waiting() const { return waiting_.size(); }

 private:
  std::uint64_t count_ = 0;
  std::deque<Caller> waiting_;
};

class Condition {
 public:
  void wait(Caller caller) { waiting_.push_back(caller); }  // kYes when notified, kNo when cancelled
  void cancel(Caller caller, std::uint32_t call, Answers& answers);
  void notify(Caller caller, std::uint64_t most, Answers& answers);
  std::size_t waiting() const { return waiting_.size(); }

 private:
  std::deque<Caller> waiting_;
};

class Once {
 public:
  void begin(Caller caller, Answers& answers);  // kYes: run it, then end(); kNo: it has been run
  void end(Caller caller, Answers& answers);
  std::size_t waiting() const { return waiting_.size(); }

 private:
  enum class State : std::uint8_t { kNew, kRunning, kDone } state_ = State::kNew;
  NodeId runner_ = kNoNode;
  std::vector<Caller> waiting_;  // kRunning only
};

}  // namespace dsm::sync
