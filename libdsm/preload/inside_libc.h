// What libc allocates for itself: streams, their buffers and locks, readers of directories. It hands such memory to the
// kernel by calls inside of it, which nobody can stand in front of; so with an engine whose pages the kernel does not
// wait for, that memory is libc's own.
#pragma once

#include <cstdint>

namespace dsm::preload {

// Finds libc's code, once. `streams_only`: only that which makes a stream's buffer counts, since what else it returns
// (strdup) may be handed to other nodes.
void find_libc(bool streams_only);

struct CodeRange {
  std::uintptr_t begin = 0;
  std::uintptr_t bytes = 0;
};
extern constinit CodeRange libc_code;

// `call`: where a call of an allocation function returns to. False before find_libc().
inline bool inside_libc(const void* call) {
  return reinterpret_cast<std::uintptr_t>(call) - libc_code.begin < libc_code.bytes;
}

}  // namespace dsm::preload
