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

// Copies the pages of [from, from + kChunkBytes) that hold anything but zeros. `to` is zero so far.
void copy_populated(std::byte* from, std::byte* to);

}  // namespace dsm::mem
