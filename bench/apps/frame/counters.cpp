#include "bench/apps/frame/counters.h"

#include <ctime>

#include "net/round_trips.h"
#include "runtime/node.h"

namespace app {
namespace {

std::uint64_t time_in(const dsm::Histogram& histogram) {
  std::uint64_t ns = 0;
  for (std::size_t i = 0; i < dsm::kHistogramBuckets; ++i)
    ns += histogram.bucket[i].load() * (std::uint64_t{3} << i) / 2;
  return ns;
}

std::uint64_t cpu_ns() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(used.tv_nsec);
}

}  // namespace

Counters native_counters_now() {
  Counters counters{};
  counters.back() = cpu_ns();
  return counters;
}

Counters counters_now() {
  const dsm::NodeStats& stats = *dsm::runtime::node().stats;
  return {
#define DSM_VALUE(field, unit, help) stats.field.load(),
      DSM_COUNTERS(DSM_VALUE)
#undef DSM_VALUE
#define DSM_VALUE(field, unit, help) time_in(stats.field),
          DSM_HISTOGRAMS(DSM_VALUE)
#undef DSM_VALUE
              dsm::net::round_trips.load(),
      cpu_ns(),
  };
}

}  // namespace app
