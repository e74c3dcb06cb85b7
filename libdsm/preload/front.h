// How the program's malloc gets to the global heap, and what comes before, beside and after it.
//
//   allocate:  the thread allocates directly (base/allocation_gate.h)  ->  the private jemalloc, nothing else
//              else allocate_slow: the site is an ordinary one         ->  the private jemalloc, after a look
//                                  it is served otherwise              ->  runtime/sites.h
//                                  not started yet, or runtime code    ->  libc's own malloc
//                                  a thread's first or last blocks     ->  the heap's slow path
//   free:      a block of this node's slice                            ->  the private jemalloc, nothing else
//              else release_slow:  in the global range                 ->  its home
//                                  anywhere else                       ->  libc's own free
//
// 1. Which allocator a block is from is seen by its address alone, so that every thread may free every block at any
//    time, before the node starts and after it has finished.
// 2. Nothing here calls malloc by its public name, or dlsym, on a path that dlsym or a thread's end may take.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/allocation_gate.h"
#include "heap/jemalloc.h"

// What the program sees. Everything else in the library is hidden.
#define DSM_INTERPOSED extern "C" [[gnu::visibility("default")]]
// In such a function: where the program's call returns to.
#define DSM_CALL __builtin_return_address(0)

namespace dsm::runtime {
struct Node;
}

namespace dsm::preload {

struct AddressRange {
  std::uintptr_t begin;
  std::size_t bytes;  // 0: it holds nothing yet
  bool holds(const void* address) const { return reinterpret_cast<std::uintptr_t>(address) - begin < bytes; }
};
extern constinit AddressRange own_slice;  // from the start of the node on

inline bool in_own_slice(const void* block) { return own_slice.holds(block); }
// Blocks of it may be freed by the size that was asked for: they are not served otherwise, where they would be larger.
extern constinit AddressRange sized_slice;
inline bool in_sized_slice(const void* block) { return sized_slice.holds(block); }
inline bool direct() { return allocations == Allocations::kDirect; }

// System calls on shared pages may give EFAULT with this node's engine, and the library has to hide that (traps.h).
extern constinit std::atomic<bool> system_calls_need_care;

// From now on threads of the program get blocks of the global heap.
void open_front(runtime::Node& node);
// In a forked child that has not inherited the heap: from now on blocks come from libc.
void close_front();
// In any other: it is no node, and all blocks are its own.
void forget_sites();
// The node whose heap this is; nullptr before open_front().
runtime::Node* front_node();

// nullptr and ENOMEM when memory is used up. `alignment`: a power of two, or 0 for malloc's own. `call`: where the
// program's call returns to.
[[gnu::noinline]] void* allocate_slow(std::size_t bytes, std::size_t alignment, bool zero, const void* call);
[[gnu::noinline]] void release_slow(void* block);                                       // nullptr, too
[[gnu::noinline]] void* resize_slow(void* block, std::size_t bytes, const void* call);  // neither null nor 0
[[gnu::noinline]] std::size_t usable_size_slow(void* block);

inline void* allocate_aligned(std::size_t alignment, std::size_t bytes, const void* call) {
  if (direct()) [[likely]]
    return dsm_je_aligned_alloc(alignment, bytes);
  return allocate_slow(bytes, alignment, false, call);
}

inline void release(void* block) {
  if (in_own_slice(block)) [[likely]]
    return dsm_je_free(block);
  release_slow(block);
}

}  // namespace dsm::preload
