#include "insight/process_counters.h"

#include <linux/perf_event.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "insight/pfm.h"

namespace dsm::insight {
namespace {

constexpr CounterEvent kEvents[] = {
    {"cycles", "PERF_COUNT_HW_CPU_CYCLES"},           {"instructions", "PERF_COUNT_HW_INSTRUCTIONS"},
    {"cache_misses", "PERF_COUNT_HW_CACHE_MISSES"},   {"tlb_read_misses", "PERF_COUNT_HW_CACHE_DTLB:READ:MISS"},
    {"branch_misses", "PERF_COUNT_HW_BRANCH_MISSES"},
};
constexpr std::size_t kCount = std::size(kEvents);

// What the kernel has counted of the process all along. An event of perf for each would cost every context switch some
// microseconds, which is a tenth of what a job takes whose nodes wait for each other.
constexpr std::array<const char*, kKernelCounted> kKernelNames = {"task_clock_ns", "kernel_page_faults",
                                                                  "context_switches"};
static_assert(kCount + kKernelCounted <= kMostCounted);

std::array<std::uint64_t, kKernelCounted> by_kernel() {
  timespec clock{};
  rusage used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &clock);
  ::getrusage(RUSAGE_SELF, &used);
  return {static_cast<std::uint64_t>(clock.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(clock.tv_nsec),
          static_cast<std::uint64_t>(used.ru_minflt + used.ru_majflt),
          static_cast<std::uint64_t>(used.ru_nvcsw + used.ru_nivcsw)};
}

void write(Counted& to, const char* name, std::uint64_t value) {
  std::strncpy(to.name, name, sizeof to.name - 1);
  to.value.store(value);
}

int open_event(const CounterEvent& event, const Pfm& pfm) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  if (event.encoding != nullptr) {
    if (!pfm.encode(event.encoding, attributes)) return -1;
    attributes.exclude_kernel = 1;
  } else {
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = event.config;
  }
  attributes.inherit = 1;
  return static_cast<int>(::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

}  // namespace

void open_counters(std::span<const CounterEvent> events, std::span<int> files) {
  const int saved_errno = errno;
  const Pfm pfm;
  for (std::size_t i = 0; i < events.size(); ++i) files[i] = open_event(events[i], pfm);
  errno = saved_errno;
}

std::optional<std::uint64_t> read_counter(int file) {
  std::uint64_t value = 0;
  if (file < 0 || ::read(file, &value, sizeof value) != sizeof value) return {};
  return value;
}

void close_counters(std::span<int> files) {
  for (int& file : files) {
    if (file >= 0) ::close(file);
    file = -1;
  }
}

void ProcessCounters::start() {
  open_counters(kEvents, files_);
  at_start_ = by_kernel();
}

void ProcessCounters::stop(NodePart& part) {
  const char* source = "software";
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto value = read_counter(files_[i]);
    if (!value) continue;
    write(part.counted[i], kEvents[i].name, *value);
    source = "hardware";
  }
  const auto now = by_kernel();
  for (std::size_t i = 0; i < now.size(); ++i) {
    write(part.counted[kCount + i], kKernelNames[i], now[i] - at_start_[i]);
  }
  std::strncpy(part.counters_source, source, sizeof part.counters_source - 1);
  close_counters(files_);
}

}  // namespace dsm::insight
