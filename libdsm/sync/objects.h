// What a home keeps for each of its synchronisation objects, as pure state machines: an operation of a caller comes in,
// answers to this and other callers go out. Callers are served in the order of their coming.
#pragma once

#include <cstdint>

#include "base/types.h"
#include "sync/caller_queue.h"

namespace dsm::sync {

// Values of answers. Large ones are complaints: the caller's program is wrong.
inline constexpr std::uint64_t kNo = 0;
inline constexpr std::uint64_t kYes = 1;
inline constexpr std::uint64_t kNoSuchObject = ~std::uint64_t{0};  // there is none, or it is of another kind
inline constexpr std::uint64_t kBadArgument = ~std::uint64_t{0} - 1;

// Where answers go, and where those who wait for theirs are kept.
class Desk {
 public:
  virtual void answer(Caller caller, std::uint64_t value) = 0;
  CallerPool pool;

 protected:
  ~Desk() = default;
};

class Barrier {
 public:
  void arrive(Desk& desk, Caller caller, std::uint64_t parties);  // kYes when all have come
  std::uint32_t waiting() const { return here_.size(); }

 private:
  std::uint64_t parties_ = 0;  // of the arrivals so far
  CallerQueue here_;           // fewer than parties_
};

// Nobody waits while count > 0.
class Semaphore {
 public:
  static constexpr std::uint64_t kMostCount = std::uint64_t{1} << 62;
  void acquire(Desk& desk, Caller caller);      // kYes when it has been acquired
  void try_acquire(Desk& desk, Caller caller);  // kYes or kNo at once
  void release(Desk& desk, Caller caller, std::uint64_t count);
  std::uint32_t waiting() const { return waiting_.size(); }

 private:
  std::uint64_t count_ = 0;
  CallerQueue waiting_;
};

class Condition {
 public:
  void wait(Desk& desk, Caller caller) { waiting_.push(desk.pool, caller); }  // kYes when notified, kNo when cancelled
  void cancel(Desk& desk, Caller caller, std::uint32_t call);
  void notify(Desk& desk, Caller caller, std::uint64_t most);
  std::uint32_t waiting() const { return waiting_.size(); }

 private:
  CallerQueue waiting_;
};

class Once {
 public:
  void begin(Desk& desk, Caller caller);  // kYes: run it, then end(); kNo: it has been run
  void end(Desk& desk, Caller caller);
  std::uint32_t waiting() const { return waiting_.size(); }

 private:
  enum class State : std::uint8_t { kNew, kRunning, kDone } state_ = State::kNew;
  NodeId runner_ = kNoNode;
  CallerQueue waiting_;  // kRunning only
};

}  // namespace dsm::sync
