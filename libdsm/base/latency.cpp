#include "base/latency.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace dsm {
namespace {

// The kernel's struct sched_attr (linux/sched/types.h), which glibc 2.36 does not declare.
struct SchedAttr {
  std::uint32_t size;
  std::uint32_t policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime_ns;  // for the default policy: the slice
  std::uint64_t deadline_ns;
  std::uint64_t period_ns;
};
static_assert(sizeof(SchedAttr) == 48);

constexpr std::uint64_t kShortestSliceNs = 100'000;

thread_local bool asked __attribute__((tls_model("initial-exec"))) = false;

}  // namespace

bool become_urgent() {
  sched_param lowest{};
  lowest.sched_priority = ::sched_get_priority_min(SCHED_RR);
  return ::sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &lowest) == 0;
}

void prefer_latency() {
  if (asked) return;
  asked = true;
  const int saved_errno = errno;
  SchedAttr attr{};
  if (::syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) == 0 && attr.policy == SCHED_OTHER) {
    attr.runtime_ns = kShortestSliceNs;
    ::syscall(SYS_sched_setattr, 0, &attr, 0);
  }
  errno = saved_errno;
}

}  // namespace dsm
