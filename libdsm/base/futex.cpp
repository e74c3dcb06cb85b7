#include "base/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"

namespace dsm {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr int kSpins = 100;

int with_scope(int operation, FutexScope scope) {
  return scope == FutexScope::kProcess ? operation | FUTEX_PRIVATE_FLAG : operation;
}

}  // namespace

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, FutexScope scope,
                std::int64_t timeout_ns) {
  const int saved_errno = errno;
  const timespec timeout{timeout_ns / kNsPerSecond, timeout_ns % kNsPerSecond};
  const long failed = syscall(SYS_futex, &word, with_scope(FUTEX_WAIT, scope), expected,
                              timeout_ns < 0 ? nullptr : &timeout, nullptr, 0);
  DSM_CHECK(failed == 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT, "futex wait: errno {}", errno);
  errno = saved_errno;
}

void futex_wake(const std::atomic<std::uint32_t>& word, int count, FutexScope scope) {
  const int saved_errno = errno;
  const long woken = syscall(SYS_futex, &word, with_scope(FUTEX_WAKE, scope), count, nullptr, nullptr, 0);
  // EFAULT: a lock's memory may be gone as soon as its word says free, before its last holder's wake gets here.
  DSM_CHECK(woken >= 0 || errno == EFAULT, "futex wake: errno {}", errno);
  errno = saved_errno;
}

void FutexLock::lock() {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (try_lock()) return;
    cpu_relax();
  }
  while (word_.exchange(2, std::memory_order_acquire) != 0) futex_wait(word_, 2, FutexScope::kProcess);
}

bool FutexLock::try_lock() {
  std::uint32_t free = 0;
  return word_.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed);
}

void FutexLock::unlock() {
  const std::uint32_t was = word_.exchange(0, std::memory_order_release);
  DSM_CHECK(was != 0, "unlock of a lock that nobody holds");
  if (was == 2) futex_wake(word_, 1, FutexScope::kProcess);
}

}  // namespace dsm
