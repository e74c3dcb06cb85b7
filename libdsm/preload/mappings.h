// Large private anonymous mappings as blocks of the global heap (--mmap-kib): what garbage collectors and allocators of
// their own map is bounded and lent like what comes from malloc.
//
// 1. Only fresh memory that is to be read and written is taken; stacks, fixed addresses and reservations stay the
//    kernel's.
// 2. The kernel is never handed such memory to unmap, move or protect: it is the heap's, and is used again.
// 3. A block goes back to the heap when its last page is unmapped; pages that go before are dropped.
#pragma once

namespace dsm::preload {

// Around a fork: the child finds the table whole.
void lock_mappings();
void unlock_mappings();

}  // namespace dsm::preload
