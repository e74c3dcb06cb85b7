// A node's part of the global heap: jemalloc arenas whose extents are chunks of the node's own slice. It allocates and
// frees blocks homed here; blocks of other nodes are the runtime's business (it sends them home, see remote_frees.h).
//
// jemalloc is private to us: its symbols are renamed to dsm_je_* and none is exported. Its metadata stays out of the
// global range, and allocating and freeing never touch a block's bytes; only `zero` and resize() do, without a lock of
// jemalloc's on which another thread's free depends. heap.cpp says how threads, arenas and thread caches go together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/geometry.h"
#include "base/result.h"

namespace dsm::heap {

// Where extents come from. Called by jemalloc under its own locks: no allocation from this heap inside.
class ChunkSource {
 public:
  virtual ~ChunkSource() = default;
  // Makes `chunks` consecutive unused chunks of the own slice private and returns the first one's address; alignment is
  // a power of two >= kChunkBytes. nullptr when the slice is used up. The memory is zero.
  virtual void* take(std::uint64_t chunks, std::size_t alignment) = 0;
  // Zeroes private memory cheaply by dropping it (MADV_DONTNEED). False if any of it is shared: then nothing happened.
  virtual bool purge(void* address, std::size_t bytes) = 0;
};

// What a block is for: kinds never share a chunk. kApart: a raw block that has its pages to itself.
enum class Kind : std::uint8_t { kRaw, kObject, kApart };

// All calls are thread-safe. None may be made from a signal handler.
class Heap {
 public:
  virtual ~Heap() = default;
  // At least `bytes` bytes; 0 gives a unique pointer. nullptr when memory is used up. `alignment` is a power of two, or
  // 0 for malloc's own. kApart: nullptr also when `apart_bytes` are used up.
  virtual void* allocate(std::size_t bytes, std::size_t alignment, Kind kind, bool zero) = 0;
  virtual void release(void* block) = 0;                         // a block of this node, allocated and not yet freed
  virtual std::size_t usable_size(const void* block) const = 0;  // likewise
  // realloc's rules; bytes > 0. The block keeps its kind and stays in this slice; nullptr: it is untouched.
  virtual void* resize(void* block, std::size_t bytes) = 0;
  // Gives this thread's caches back. Happens by itself at the end of a thread, and may happen before.
  virtual void forget_thread() = 0;
};

inline constexpr unsigned kMaxArenas = 1024;

// One heap at a time per process. `arenas` per kind; 0: one per CPU. Blocks that are apart have one arena, which takes
// `apart_bytes` of chunks at the most. Destroying the heap ends the life of all its blocks; no other thread that used
// it may be left by then.
Result<std::unique_ptr<Heap>> make_heap(const Geometry& geometry, NodeId self, ChunkSource& source, unsigned arenas,
                                        std::uint64_t apart_bytes = 0);

}  // namespace dsm::heap
