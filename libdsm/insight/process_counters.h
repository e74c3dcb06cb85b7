// What the processor counts of this process while it is profiled, by perf_event_open: cycles, instructions, misses.
// Their codes come from libpfm4, which is looked for when a profile is made and not before. Where the machine shows no
// counters, or there is no libpfm4, it is what the kernel counts instead; the profile says which.
#pragma once

#include <array>

#include "insight/profile.h"

namespace dsm::insight {

class ProcessCounters {
 public:
  ProcessCounters() { files_.fill(-1); }
  ~ProcessCounters() { close_all(); }
  ProcessCounters(const ProcessCounters&) = delete;
  ProcessCounters& operator=(const ProcessCounters&) = delete;

  // Counts the calling thread and all that it starts from here on.
  void start();
  // Writes what was counted into the part.
  void stop(NodePart& part);

 private:
  void close_all();

  std::array<int, kMostCounted> files_;
  bool hardware_ = false;
};

}  // namespace dsm::insight
