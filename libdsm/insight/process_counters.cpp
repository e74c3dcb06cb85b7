#include "insight/process_counters.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "insight/pfm.h"

namespace dsm::insight {
namespace {

constexpr CounterEvent kEvents[] = {
    {"cycles", "PERF_COUNT_HW_CPU_CYCLES"},
    {"instructions", "PERF_COUNT_HW_INSTRUCTIONS"},
    {"cache_misses", "PERF_COUNT_HW_CACHE_MISSES"},
    {"tlb_read_misses", "PERF_COUNT_HW_CACHE_DTLB:READ:MISS"},
    {"branch_misses", "PERF_COUNT_HW_BRANCH_MISSES"},
    {"task_clock_ns", nullptr, PERF_COUNT_SW_TASK_CLOCK},
    {"kernel_page_faults", nullptr, PERF_COUNT_SW_PAGE_FAULTS},
    {"context_switches", nullptr, PERF_COUNT_SW_CONTEXT_SWITCHES},
    {"cpu_migrations", nullptr, PERF_COUNT_SW_CPU_MIGRATIONS},
};
constexpr std::size_t kCount = std::size(kEvents);
static_assert(kCount <= kMostCounted);

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
  for (std::size_t i = 0; i < kCount; ++i) hardware_ |= files_[i] >= 0 && kEvents[i].encoding != nullptr;
}

void ProcessCounters::stop(NodePart& part) {
  bool any = false;
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto value = read_counter(files_[i]);
    if (!value) continue;
    std::strncpy(part.counted[i].name, kEvents[i].name, sizeof part.counted[i].name - 1);
    part.counted[i].value.store(*value);
    any = true;
  }
  const char* const source = hardware_ ? "hardware" : any ? "software" : "none";
  std::strncpy(part.counters_source, source, sizeof part.counters_source - 1);
  close_counters(files_);
}

}  // namespace dsm::insight
