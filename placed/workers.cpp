#include "placed/workers.h"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "base/signals.h"

namespace dsm::placed {

void start_thread(const char* name, std::function<void()> body) {
  const SignalsBlocked blocked;  // inherited
  std::thread([name, body = std::move(body)] {
    ::prctl(PR_SET_NAME, name);
    sigset_t raised;
    ::sigemptyset(&raised);
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) ::sigaddset(&raised, signal);
    ::pthread_sigmask(SIG_UNBLOCK, &raised, nullptr);
    body();
  }).detach();
}

Workers::Workers() : base_(std::max(2U, std::thread::hardware_concurrency())) {}

Workers& workers() {
  static Workers& made = *new Workers;  // its threads run until the process ends
  return made;
}

void Workers::add() {
  ++threads_;
  start_thread("dsm-worker", [this] { work(); });
}

void Workers::run(std::function<void()> task) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  tasks_.push_back(std::move(task));
  if (idle_ >= tasks_.size()) return work_.notify_one();
  if (threads_ < base_) return add();
  if (!kept_) start_thread("dsm-pool", [this] { keep(); });
  kept_ = true;
  stuck_.notify_one();
}

void Workers::work() {
  std::unique_lock guard(lock_);
  for (;;) {
    if (tasks_.empty()) {
      if (threads_ > base_) break;
      ++idle_;
      work_.wait(guard, [&] { return !tasks_.empty(); });
      --idle_;
    }
    const auto task = std::move(tasks_.front());
    tasks_.pop_front();
    ++begun_;
    guard.unlock();
    task();
    guard.lock();
  }
  --threads_;
}

void Workers::keep() {
  std::unique_lock guard(lock_);
  for (;;) {
    stuck_.wait(guard, [&] { return tasks_.size() > idle_; });
    const std::uint64_t seen = begun_;
    stuck_.wait_for(guard, std::chrono::milliseconds(1), [&] { return tasks_.empty(); });
    if (begun_ == seen && tasks_.size() > idle_) add();
  }
}

}  // namespace dsm::placed
