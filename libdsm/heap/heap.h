// A node's part of the global heap: jemalloc arenas whose extents are chunks of the node's own slice. It allocates and
// frees blocks homed here; blocks of other nodes are the runtime's business (it sends them home).
//
// jemalloc is private to us: its symbols are renamed to dsm_je_* and none is exported. Its metadata stays out of the
// global range; its automatic thread caches are not used (they mix arenas): each thread has explicit ones per arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/geometry.h"
#include "base/result.h"

namespace dsm::heap {

// Where extents come from. Called by jemalloc under its own locks: no allocation from this heap inside.
class ChunkSource {
 public:
  virtual ~ChunkSource() = default;
  // Makes `chunks` consecutive unused chunks of the own slice private and returns the first one's address; alignment is
  // a power of two >= kChunkBytes. nullptr when the slice is used up.
  virtual void* take(std::uint64_t chunks, std::size_t alignment) = 0;
  // Zeroes private memory cheaply by dropping it (MADV_DONTNEED). False if any of it is shared: then nothing happened.
  virtual bool purge(void* address, std::size_t bytes) = 0;
};

// What a block is for: kinds never share a chunk.
enum class Kind : std::uint8_t { kRaw, kObject };

class Heap {
 public:
  virtual ~Heap() = default;
  // nullptr when memory is used up. `alignment` is a power of two or 0 for malloc's own. Thread-safe.
  virtual void* allocate(std::size_t bytes, std::size_t alignment, Kind kind, bool zero) = 0;
  virtual void release(void* block) = 0;                          // a block of this node, allocated and not yet freed
  virtual std::size_t usable_size(const void* block) const = 0;   // likewise
  virtual void* resize(void* block, std::size_t bytes) = 0;       // realloc's rules; bytes > 0
  virtual bool expand(void* block, std::size_t bytes) = 0;        // in place, never touching the bytes; true if it fits now
  // Gives this thread's caches back. Called at the end of a thread.
  virtual void forget_thread() = 0;
};

// One heap per process. `arenas` per kind; 0: one per CPU.
Result<std::unique_ptr<Heap>> make_heap(const Geometry& geometry, NodeId self, ChunkSource& source, unsigned arenas);

}  // namespace dsm::heap
