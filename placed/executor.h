// Runs calls on objects homed at this node (<dsm/delegate.h>). A call has its object by the object's header, as a
// mutable borrow at the home has; what cannot be had at once is set aside, and a worker (workers.h) waits for it.
//
// Threads: the executor's own, or one of the program that has to wait anyway (help()), takes batches from the rings;
// any thread runs its own calls on objects of its own node; workers run what was set aside; the service thread brings
// requests. No lock is held while a worker waits, and no thread but a worker waits for an object.
//
// 1. Calls of one sender on one granule run in order: what is set aside for a granule is a queue, and while that is not
//    empty later calls go to its end.
// 2. A sender has at the most kMostAside calls set aside; then its ring stands still, and so in the end does it.
#pragma once

#include <dsm/delegate.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/signals.h"
#include "placed/ring.h"
#include "runtime/calls.h"

namespace dsm::hints {
struct Engine;
}

namespace dsm::placed {

inline constexpr std::uint32_t kMostAside = 4096;

// A thread that posts calls.
struct Source {
  std::atomic<std::uint32_t> aside{0};  // calls of it that wait for their object
};

// A call by itself.
struct SingleCall {
  detail::run_records run = nullptr;
  std::size_t object_bytes = 0;
  std::vector<std::byte> record;
  Source* source = nullptr;  // posted
  runtime::Caller caller{};  // else: who waits for the result
  std::uint64_t parcel = 0;  // where the result goes if it does not fit an answer
  std::size_t result_bytes = 0;
  bool ran = false;  // set aside, and still in its line
  std::uint64_t object() const;
};

class Executor {
 public:
  explicit Executor(runtime::Node& node);  // registers itself with node.calls

  // The runs of a batch, on any thread of the program.
  void run_batch(std::span<std::byte> runs, Source& source);
  // Waits until nothing of the source is set aside.
  void await_none_aside(const Source& source);
  // Whether a call of the source is set aside for the granule.
  bool waits_for(const Source& source, std::uint64_t granule);
  // Takes batches that have come, if no other thread does. False: there were none.
  bool help();
  // From any thread, in signal context, too.
  void wake();

 private:
  struct Incoming {
    Ring* ring;
    Source source;
  };
  struct Fence {
    runtime::Caller caller;
    Incoming* from;
    std::uint64_t batches;
    FenceWish wish;
  };

  // The service thread takes the lock, too: a handler of the program's, on a thread that has it, might wait for that.
  struct Locked {
    explicit Locked(std::mutex& lock) : guard(lock) {}
    const SignalsBlocked blocked;
    const std::lock_guard<std::mutex> guard;
  };

  void serve();
  void fence(runtime::Caller caller, const runtime::Request& request);
  void refuse(runtime::Caller caller, const char* what);
  std::uint64_t open_ring();
  void start();  // holding lock_
  Incoming* incoming(std::uint64_t ring);
  void loop();
  bool drain();
  bool take_batches(Incoming& from);
  bool anything_ready();
  void run_all(const RunHead& head, detail::run_records function, std::byte* records, Source& source);
  void run_single(SingleCall&& call);
  void answer(SingleCall& call, std::span<const std::byte> result);
  void answer_fences();
  bool is_aside(std::uint64_t object);
  void set_aside(SingleCall&& call);
  void run_aside(std::uint64_t granule);

  runtime::Node& node_;
  std::atomic<std::uint32_t> wakes_{0};
  std::atomic<std::uint64_t>* doorbell_ = nullptr;  // 1: the executor sleeps, or is about to
  std::uint64_t doorbell_address_ = 0;
  std::mutex draining_;

  std::mutex lock_;  // the rest
  std::vector<std::unique_ptr<Incoming>> incoming_;
  std::atomic<std::size_t> incoming_count_{0};
  std::deque<SingleCall> requests_;
  std::vector<Fence> fences_;
  std::unordered_map<std::uint64_t, std::deque<SingleCall>> aside_;  // by granule
  std::atomic<std::size_t> granules_aside_{0};
};

Executor& executor();

}  // namespace dsm::placed
