// Mapping a node's memory file for the program.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "base/tsan.h"

namespace dsm::mem {

// At `place`, over what is there; anywhere if null. Every piece of the application view is mapped by this function, so
// that the kernel can merge neighbours. A forked child does not get it: there its pages would be plain memory, shared
// and incoherent; a touch is a SIGSEGV instead.
inline Result<void*> map_shared_view(void* place, std::size_t bytes, int memory_fd, std::uint64_t offset,
                                     int protection) {
  [[maybe_unused]] const TsanNotWritten the_program_has_it_all_along{};
  const int flags = MAP_SHARED | MAP_NORESERVE | (place != nullptr ? MAP_FIXED : 0);
  void* view = mmap(place, bytes, protection, flags, memory_fd, static_cast<off_t>(offset));
  if (view == MAP_FAILED) return fail(Errc::kNoMemory, "cannot map the node's memory for the program", errno);
  if (madvise(view, bytes, MADV_DONTFORK) != 0) {
    const int error = errno;
    if (place == nullptr) munmap(view, bytes);
    return fail(Errc::kSystem, "cannot keep the application view from forked children", error);
  }
  return view;
}

}  // namespace dsm::mem
