// Gives chunks of another source until so many have been taken; what an arena has taken it keeps (chunk_arena.h). Any
// thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "heap/heap.h"

namespace dsm::heap {

class BoundedChunks final : public ChunkSource {
 public:
  BoundedChunks(ChunkSource& source, std::uint64_t bytes) : source_(source), left_(bytes >> kChunkShift) {}

  void* take(std::uint64_t chunks, std::size_t alignment) override {
    std::uint64_t left = left_.load(std::memory_order_relaxed);
    do {
      if (left < chunks) return nullptr;
    } while (!left_.compare_exchange_weak(left, left - chunks, std::memory_order_relaxed));
    void* const address = source_.take(chunks, alignment);
    if (address == nullptr) left_.fetch_add(chunks, std::memory_order_relaxed);
    return address;
  }
  bool purge(void* address, std::size_t bytes) override { return source_.purge(address, bytes); }

 private:
  ChunkSource& source_;
  std::atomic<std::uint64_t> left_;
};

}  // namespace dsm::heap
