// The processor's counters of this process while it is measured, through libpfm4; where the machine does not have one,
// a counter of the kernel's takes its place. They count the threads that begin after start().
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace app {

// Those of the processor, then those of the kernel.
inline constexpr std::array<const char*, 8> kPerfNames{"cycles",           "instructions",  "dtlb_load_misses",
                                                       "llc_misses",       "task_clock_ns", "page_faults",
                                                       "context_switches", "cpu_migrations"};
inline constexpr std::size_t kPerfEvents = kPerfNames.size();
inline constexpr std::int64_t kNotCounted = -1;
using PerfCounts = std::array<std::int64_t, kPerfEvents>;

class Perf {
 public:
  Perf();  // starts
  ~Perf();
  Perf(const Perf&) = delete;
  Perf& operator=(const Perf&) = delete;
  PerfCounts stop() const;  // kNotCounted: this machine has it not

 private:
  std::array<int, kPerfEvents> files_;
};

}  // namespace app
