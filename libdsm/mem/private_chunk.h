// Taking the pages of a private (anonymous) chunk away from the program and copying what is in them. Not for signal
// context.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace dsm::mem {

// Moves page tables, not bytes: once it returns, the pages are found at `to` and the range at `from` is mapped as
// before and empty. An access of another thread happened before the move and moved along, or meets the empty range.
// Known limit: memory pinned for a device (O_DIRECT, registered buffers) is not waited for.
Result<void> move_pages(std::uintptr_t from, std::byte* to, std::size_t bytes);

// Copies the pages of [from, from + kChunkBytes) that hold anything but zeros to `offset` in the memory file, which is
// a hole there so far. `service`: the same place in the service view.
void copy_populated(const std::byte* from, int memory_fd, std::uint64_t offset, std::byte* service);

}  // namespace dsm::mem
