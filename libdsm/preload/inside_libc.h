// What libc allocates for itself: streams, their buffers and locks, readers of directories. It hands such memory to the
// kernel by calls inside of it, which nobody can stand in front of; so with an engine whose pages the kernel does not
// wait for, that memory is libc's own.
#pragma once

#include "preload/front.h"

namespace dsm::preload {

// Finds libc's code, once. `streams_only`: only that which makes a stream's buffer counts, since what else it returns
// (strdup) may be handed to other nodes.
void find_libc(bool streams_only);

extern constinit AddressRange libc_code;

// `call`: where a call of an allocation function returns to. False before find_libc().
inline bool inside_libc(const void* call) { return libc_code.holds(call); }

}  // namespace dsm::preload
