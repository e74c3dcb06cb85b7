// Synchronisation between threads of all nodes. Each object lives in the global heap (make it with dsm::make, or as
// part of an object there); constructing it takes a slot at this node, which becomes its home, and destroying gives it
// back. An object must not be copied, nor used before its constructor or after its destructor: that is a diagnostic and
// an abort. std::lock_guard, std::unique_lock and std::shared_lock work on the locks. Waiting is fair between nodes.
// std::atomic needs none of this: it works on global memory as it is.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>

#pragma GCC visibility push(default)
namespace dsm {

namespace detail {
// A slot at the object's home: its latch-only page number and a mark that tells a live handle from garbage.
struct slot {
  std::uint64_t page = 0;
  std::uint64_t mark = 0;
  slot();
  ~slot();
  slot(const slot&) = delete;
  slot& operator=(const slot&) = delete;
};
}  // namespace detail

// Not recursive. A node keeps a lock it has taken until another node asks, so taking it again is local. try_lock does
// not wait for whoever has the lock, but for up to a millisecond for another node's answer; it may fail although nobody
// has it.
class mutex {
 public:
  void lock();
  bool try_lock();
  void unlock();

 private:
  detail::slot slot_;
};

class shared_mutex {
 public:
  void lock();
  bool try_lock();
  void unlock();
  void lock_shared();
  bool try_lock_shared();
  void unlock_shared();

 private:
  detail::slot slot_;
};

// Of std::condition_variable's meaning: a wait may end for no reason. Notifications reach waiting threads of all nodes,
// in the order in which they began to wait. All who wait at one time use one mutex.
class condition_variable {
 public:
  void notify_one();
  void notify_all();
  void wait(std::unique_lock<mutex>& lock);
  template <typename Predicate>
  void wait(std::unique_lock<mutex>& lock, Predicate ready) {
    while (!ready()) wait(lock);
  }
  // False on timeout.
  bool wait_for(std::unique_lock<mutex>& lock, std::chrono::nanoseconds timeout);

 private:
  detail::slot slot_;
};

// For `parties` threads of any nodes, at least one; may be used again at once, as std::barrier. More threads than
// `parties` that arrive belong to the next round.
class barrier {
 public:
  explicit barrier(std::size_t parties);
  void arrive_and_wait();

 private:
  detail::slot slot_;
  std::uint64_t parties_;
};

// `initial` and what release() adds are not negative. acquire() waits until it can take one; threads are served in the
// order in which they ask.
class counting_semaphore {
 public:
  explicit counting_semaphore(std::ptrdiff_t initial);
  void acquire();
  bool try_acquire();
  void release(std::ptrdiff_t count = 1);

 private:
  detail::slot slot_;
};

class once_flag {
 public:
  once_flag() = default;

 private:
  template <typename F>
  friend void call_once(once_flag&, F&&);
  bool begin();  // true: this thread shall run it, then call end(); false: it has been run
  void end();
  detail::slot slot_;
};

// `f` runs once in the whole job; who comes later waits for its end. If it throws the program ends.
template <typename F>
void call_once(once_flag& flag, F&& f) {
  if (!flag.begin()) return;
  [&]() noexcept { f(); }();
  flag.end();
}

}  // namespace dsm
#pragma GCC visibility pop
