// Which kind of block each chunk of the own slice holds. A chunk gets its kind when an arena takes it and keeps it for
// ever, so that a block's kind is a look-up by address. Any thread; a block's pointer carries the look-up's ordering.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "heap/heap.h"

namespace dsm::heap {

class ChunkKinds {
 public:
  ChunkKinds(std::uint64_t slice_begin, std::uint64_t slice_bytes)
      : slice_begin_(slice_begin),
        slice_bytes_(slice_bytes),
        kinds_(new std::atomic<Kind>[slice_bytes >> kChunkShift]()) {}

  bool holds(const void* address) const { return offset(address) < slice_bytes_; }

  Kind of(const void* block) const {
    if (!any_marked_.load(std::memory_order_relaxed)) [[likely]]
      return Kind::kRaw;
    return kinds_[offset(block) >> kChunkShift].load(std::memory_order_relaxed);
  }

  // All chunks are raw until told otherwise.
  void mark(const void* first, std::uint64_t chunks, Kind kind) {
    const std::uint64_t begin = offset(first) >> kChunkShift;
    DSM_CHECK(chunks <= (slice_bytes_ >> kChunkShift) - begin, "chunks {} + {} are not in the slice", begin, chunks);
    for (std::uint64_t i = 0; i < chunks; ++i) kinds_[begin + i].store(kind, std::memory_order_relaxed);
    any_marked_.store(true, std::memory_order_relaxed);
  }

 private:
  static_assert(Kind{} == Kind::kRaw);
  std::uint64_t offset(const void* address) const { return reinterpret_cast<std::uintptr_t>(address) - slice_begin_; }

  const std::uint64_t slice_begin_;
  const std::uint64_t slice_bytes_;
  std::atomic<bool> any_marked_{false};
  const std::unique_ptr<std::atomic<Kind>[]> kinds_;
};

}  // namespace dsm::heap
