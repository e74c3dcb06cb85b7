#include "bench/apps/frame/perf.h"

#include <linux/perf_event.h>

#include "insight/process_counters.h"

namespace app {
namespace {

constexpr std::array<dsm::insight::CounterEvent, kPerfEvents> kEvents{{
    {kPerfNames[0], "PERF_COUNT_HW_CPU_CYCLES"},
    {kPerfNames[1], "PERF_COUNT_HW_INSTRUCTIONS"},
    {kPerfNames[2], "PERF_COUNT_HW_CACHE_DTLB:READ:MISS"},
    {kPerfNames[3], "PERF_COUNT_HW_CACHE_MISSES"},
    {kPerfNames[4], nullptr, PERF_COUNT_SW_TASK_CLOCK},
    {kPerfNames[5], nullptr, PERF_COUNT_SW_PAGE_FAULTS},
    {kPerfNames[6], nullptr, PERF_COUNT_SW_CONTEXT_SWITCHES},
    {kPerfNames[7], nullptr, PERF_COUNT_SW_CPU_MIGRATIONS},
}};

}  // namespace

Perf::Perf() { dsm::insight::open_counters(kEvents, files_); }
Perf::~Perf() { dsm::insight::close_counters(files_); }

PerfCounts Perf::stop() const {
  PerfCounts counts;
  for (std::size_t i = 0; i < kPerfEvents; ++i) {
    const auto counted = dsm::insight::read_counter(files_[i]);
    counts[i] = counted ? static_cast<std::int64_t>(*counted) : kNotCounted;
  }
  return counts;
}

}  // namespace app
