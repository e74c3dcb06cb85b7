// Gives the heap its chunks: the node's own slice, from its start upwards, or memory nodes' memory. The heap keeps what
// it gets.
#pragma once

#include <cstdint>

#include "base/futex.h"
#include "base/geometry.h"
#include "heap/heap.h"

namespace dsm::runtime {

struct Node;

class SliceChunks final : public heap::ChunkSource {
 public:
  explicit SliceChunks(Node& node) : node_(node) {}
  void* take(std::uint64_t chunks, std::size_t alignment) override;
  bool purge(void* address, std::size_t bytes) override;

  // Held while a chunk turns shared, so that purge() never drops shared memory.
  FutexLock& sharing_lock() { return sharing_lock_; }

  // Around a fork: no chunk is taken, dropped or turned shared meanwhile. With signals blocked.
  void hold_for_fork();
  void release_after_fork();

 private:
  Node& node_;
  FutexLock lock_;
  FutexLock sharing_lock_;
  std::uint64_t next_ = 0;  // first page of the slice that was never given out, relative to it
};

// Leased chunks. They are shared from the start, but nobody else knows them yet: this node owns every page of them, so
// the first touch of one needs nobody.
class LentChunks final : public heap::ChunkSource {
 public:
  explicit LentChunks(Node& node) : node_(node) {}
  void* take(std::uint64_t chunks, std::size_t alignment) override;
  bool purge(void* address, std::size_t bytes) override;

 private:
  Node& node_;
  FutexLock child_lock_;  // of a forked child's takes
};

}  // namespace dsm::runtime
