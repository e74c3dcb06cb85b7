// Time for the runtime: monotonic nanoseconds (vDSO, safe in signal context) and a thread's own CPU time.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace dsm {

std::int64_t now_ns();                  // CLOCK_MONOTONIC
std::int64_t thread_cpu_ns(pid_t tid);  // CPU time of a thread of this process; -1 if it is gone
pid_t current_tid();                    // cached per thread

}  // namespace dsm
