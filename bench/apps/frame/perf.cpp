#include "bench/apps/frame/perf.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#ifdef DSM_LIBPFM
#include <perfmon/pfmlib_perf_event.h>
#else
#include <linux/perf_event.h>
#endif

namespace app {
namespace {

constexpr std::array<std::uint64_t, 4> kKernels{PERF_COUNT_SW_TASK_CLOCK, PERF_COUNT_SW_PAGE_FAULTS,
                                                PERF_COUNT_SW_CONTEXT_SWITCHES, PERF_COUNT_SW_CPU_MIGRATIONS};

#ifdef DSM_LIBPFM
// libpfm4's names of the processor's four.
constexpr std::array<const char*, 4> kProcessors{"PERF_COUNT_HW_CPU_CYCLES", "PERF_COUNT_HW_INSTRUCTIONS",
                                                 "PERF_COUNT_HW_CACHE_DTLB:READ:MISS", "PERF_COUNT_HW_CACHE_MISSES"};

bool describe(std::size_t event, perf_event_attr& attributes) {
  static const bool ready = ::pfm_initialize() == PFM_SUCCESS;
  pfm_perf_encode_arg_t argument{};
  argument.attr = &attributes;
  argument.size = sizeof argument;
  return ready &&
         ::pfm_get_os_event_encoding(kProcessors[event], PFM_PLM3, PFM_OS_PERF_EVENT, &argument) == PFM_SUCCESS;
}
#else
bool describe(std::size_t, perf_event_attr&) { return false; }
#endif

int open_event(std::size_t event) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  if (event < 4) {
    if (!describe(event, attributes)) return -1;
    attributes.exclude_kernel = 1;
  } else {
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = kKernels[event - 4];
  }
  attributes.inherit = 1;
  return static_cast<int>(::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

}  // namespace

Perf::Perf() {
  for (std::size_t i = 0; i < kPerfEvents; ++i) files_[i] = open_event(i);
}

Perf::~Perf() {
  for (const int file : files_) {
    if (file >= 0) ::close(file);
  }
}

PerfCounts Perf::stop() const {
  PerfCounts counts;
  for (std::size_t i = 0; i < kPerfEvents; ++i) {
    std::uint64_t value = 0;
    const bool read = files_[i] >= 0 && ::read(files_[i], &value, sizeof value) == sizeof value;
    counts[i] = read ? static_cast<std::int64_t>(value) : kNotCounted;
  }
  return counts;
}

}  // namespace app
