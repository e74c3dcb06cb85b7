// A node's counters at one moment, so that a program can say what its measured part did. Zero in native mode.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/stats.h"

namespace app {

// The counters, then the time in each latency histogram: events times the middle of their bucket, a factor of 1.5 off
// at the worst.
inline constexpr const char* kCounterNames[] = {
#define DSM_NAME(field, unit, help) #field,
    DSM_COUNTERS(DSM_NAME)
#undef DSM_NAME
#define DSM_NAME(field, unit, help) #field "_ns",
        DSM_HISTOGRAMS(DSM_NAME)
#undef DSM_NAME
};
inline constexpr std::size_t kCounters = std::size(kCounterNames);
using Counters = std::array<std::uint64_t, kCounters>;

Counters counters_now();

}  // namespace app
