// Which chunks of the global range an engine controls: one bit a chunk, in memory that costs nothing until used.
// Chunks are only ever added. Safe in signal context and from any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/geometry.h"
#include "base/result.h"

namespace dsm::mem {

class ChunkSet {
 public:
  static Result<ChunkSet> make(const Geometry& geometry);
  ChunkSet(ChunkSet&& other) noexcept;
  ChunkSet(const ChunkSet&) = delete;
  ChunkSet& operator=(ChunkSet&&) = delete;
  ~ChunkSet();

  void add(std::uintptr_t address, std::size_t bytes);
  bool contains(std::uintptr_t address) const;

  // Calls use(address, bytes) for each longest run of chunks in the set.
  template <typename Use>
  void for_each_run(Use use) const {
    for (std::uint64_t chunk = 0; chunk < chunks_; ++chunk) {
      if (!bit(chunk)) continue;
      const std::uint64_t first = chunk;
      while (chunk < chunks_ && bit(chunk)) ++chunk;
      use(base_ + first * kChunkBytes, (chunk - first) * kChunkBytes);
    }
  }

 private:
  using Word = std::atomic<std::uint64_t>;
  static constexpr std::uint64_t kBits = 64;

  ChunkSet(std::uintptr_t base, std::uint64_t chunks, Word* words) : base_(base), chunks_(chunks), words_(words) {}
  bool bit(std::uint64_t chunk) const {
    return (words_[chunk / kBits].load(std::memory_order_acquire) >> chunk % kBits & 1) != 0;
  }

  std::uintptr_t base_;
  std::uint64_t chunks_;
  Word* words_;
};

}  // namespace dsm::mem
