#include "base/clock.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"

namespace dsm {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

// initial-exec: reading it never enters the dynamic linker, which allocates.
__attribute__((tls_model("initial-exec"))) constinit thread_local pid_t cached_tid = 0;

// The one thread of a forked child has another id than the thread it is a copy of.
[[maybe_unused]] const int fork_hook = pthread_atfork(nullptr, nullptr, [] { cached_tid = 0; });

std::int64_t to_ns(const timespec& time) { return time.tv_sec * kNsPerSecond + time.tv_nsec; }

}  // namespace

std::int64_t now_ns() {
  timespec time{};
  const int failed = clock_gettime(CLOCK_MONOTONIC, &time);
  DSM_CHECK(failed == 0);
  return to_ns(time);
}

std::int64_t thread_cpu_ns(pid_t tid) {
  // The kernel's own encoding of "CPU time of this thread" (include/linux/posix-timers.h): ~tid, per-thread bit 4,
  // clock 2 (scheduler). pthread_getcpuclockid makes the same but wants a pthread_t, which the runtime has not got.
  const auto clock = static_cast<clockid_t>((~static_cast<unsigned>(tid) << 3) | 6U);
  const int saved_errno = errno;
  timespec time{};
  const int failed = clock_gettime(clock, &time);
  errno = saved_errno;
  return failed == 0 ? to_ns(time) : -1;
}

pid_t current_tid() {
  if (cached_tid == 0) cached_tid = static_cast<pid_t>(syscall(SYS_gettid));
  return cached_tid;
}

}  // namespace dsm
