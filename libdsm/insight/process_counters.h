// What the processor counts of this process while it is profiled, by perf_event_open: cycles, instructions, misses.
// Their codes come from libpfm4, which is looked for when a profile is made and not before. What the kernel counts
// (getrusage) comes beside it, and alone where the machine shows no counters, or there is no libpfm4; the profile says
// which.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "insight/profile.h"

namespace dsm::insight {

struct CounterEvent {
  const char* name;          // in a report
  const char* encoding;      // the processor's, by libpfm4's name; nullptr: the kernel's own, `config`
  std::uint64_t config = 0;  // PERF_COUNT_SW_...
};

// Begins to count events of the calling thread and of all that it starts from here on. A file that is -1: this machine
// has no such counter.
void open_counters(std::span<const CounterEvent> events, std::span<int> files);
std::optional<std::uint64_t> read_counter(int file);  // what has been counted until now
void close_counters(std::span<int> files);

inline constexpr std::size_t kKernelCounted = 3;

// Those that a profile has.
class ProcessCounters {
 public:
  ProcessCounters() { files_.fill(-1); }
  ~ProcessCounters() { close_counters(files_); }
  ProcessCounters(const ProcessCounters&) = delete;
  ProcessCounters& operator=(const ProcessCounters&) = delete;

  void start();
  // Writes what was counted into the part.
  void stop(NodePart& part);

 private:
  std::array<int, kMostCounted> files_;
  std::array<std::uint64_t, kKernelCounted> at_start_{};
};

}  // namespace dsm::insight
