// A node's counters at one moment, so that a program can say what its measured part did.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/stats.h"

namespace app {

// The counters, then the time in each latency histogram: events times the middle of their bucket, a factor of 1.5 off
// at the worst; then chains of operations at other nodes, and the processor time of all threads of the process.
// NOLINTNEXTLINE(bugprone-suspicious-missing-comma): the macros have them
inline constexpr const char* kCounterNames[] = {
#define DSM_NAME(field, unit, help) #field,
    DSM_COUNTERS(DSM_NAME)
#undef DSM_NAME
#define DSM_NAME(field, unit, help) #field "_ns",
        DSM_HISTOGRAMS(DSM_NAME)
#undef DSM_NAME
            "round_trips",
    "cpu_ns",
};
inline constexpr std::size_t kCounters = std::size(kCounterNames);
using Counters = std::array<std::uint64_t, kCounters>;

Counters counters_now();
Counters native_counters_now();  // of a process that is no node

}  // namespace app
