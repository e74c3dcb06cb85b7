// Fixed events in a per-thread ring, cheap enough for the fault path: what a failed DSM_CHECK prints.
#pragma once

#include <cstdint>

#include "base/types.h"

namespace dsm {

enum class TraceEvent : std::uint8_t { kFault, kWait, kMap, kUnmap, kSend, kReceive, kShareChunk };

void trace(TraceEvent event, PageId page, std::uint64_t a = 0, std::uint64_t b = 0);
void dump_trace(int fd);  // this thread's ring, oldest first; safe in signal context

}  // namespace dsm
