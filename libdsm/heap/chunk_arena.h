// One jemalloc arena whose extents are chunks of the own slice, all of one kind. The hooks run under jemalloc's locks
// on whatever thread allocates or frees; they lock nothing and allocate nothing, so they are safe at fork too.
//
// 1. Every extent lies inside one take. jemalloc may split and merge there, and never merges across takes.
// 2. jemalloc's metadata is elsewhere: the arena is created with jemalloc's own hooks, which its base allocator keeps,
//    and gets ours afterwards. (`arenas.create` with our hooks would put metadata into the slice.)
// 3. Nothing is given back to the slice: dalloc refuses, jemalloc retains. What decays is purged where it is private.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "heap/chunk_kinds.h"
#include "heap/heap.h"
#include "heap/jemalloc.h"

namespace dsm::heap {

class ChunkArena {
 public:
  // `grow_limit`: the most that jemalloc takes ahead of need in one step. Source and kinds must outlive the arena.
  ChunkArena(Kind kind, ChunkSource& source, ChunkKinds& kinds, std::size_t grow_limit)
      : kind_(kind), source_(source), kinds_(kinds), grow_limit_(grow_limit) {}

  // Creates the jemalloc arena unless that has been done. False if jemalloc has no memory for it. Any thread.
  bool open();
  bool is_open() const { return index_.load(std::memory_order_acquire) != kNotOpen; }
  // REQUIRES: open. The flag that makes jemalloc allocate here.
  int flag() const { return MALLOCX_ARENA(index_.load(std::memory_order_acquire)); }

  bool bind_this_thread();  // from now on jemalloc's automatic choice for this thread is this arena; false: no memory
  void purge();             // drops free pages now, and joins them into the largest extents there can be
  void destroy();           // REQUIRES: open, no thread bound to it, no block of it used any more

 private:
  static constexpr unsigned kNotOpen = std::numeric_limits<unsigned>::max();

  static void* on_alloc(extent_hooks_t* hooks, void* wanted, std::size_t bytes, std::size_t alignment, bool* zero,
                        bool* commit, unsigned arena);
  static bool on_dalloc(extent_hooks_t* hooks, void* address, std::size_t bytes, bool committed, unsigned arena);
  static bool on_purge(extent_hooks_t* hooks, void* address, std::size_t bytes, std::size_t offset, std::size_t length,
                       unsigned arena);
  static bool on_split(extent_hooks_t* hooks, void* address, std::size_t bytes, std::size_t a, std::size_t b,
                       bool committed, unsigned arena);
  static bool on_merge(extent_hooks_t* hooks, void* a, std::size_t a_bytes, void* b, std::size_t b_bytes,
                       bool committed, unsigned arena);
  static ChunkArena& owner(extent_hooks_t* hooks) { return static_cast<Hooks*>(hooks)->arena; }

  void* take(std::size_t bytes, std::size_t alignment);
  void* take_rest(std::size_t bytes, std::size_t alignment);
  void keep_rest(std::uint64_t begin);
  bool purge_range(std::uint64_t begin, std::uint64_t end);

  struct Hooks : extent_hooks_t {
    ChunkArena& arena;
  };

  Hooks hooks_{{on_alloc, on_dalloc, nullptr, nullptr, nullptr, nullptr, on_purge, on_split, on_merge}, *this};
  const Kind kind_;
  ChunkSource& source_;
  ChunkKinds& kinds_;
  std::size_t grow_limit_;
  std::atomic<unsigned> index_{kNotOpen};  // jemalloc's number of the arena
  // Where the unused rest of a taken chunk begins; it reaches to that chunk's end. Chunk-aligned: there is no rest.
  std::atomic<std::uint64_t> rest_{0};
};

}  // namespace dsm::heap
