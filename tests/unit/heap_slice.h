// A slice of the global range for the heap's tests: plain reserved memory, and a record of what the heap asks of it.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <vector>

#include "base/check.h"
#include "base/geometry.h"
#include "heap/heap.h"

namespace dsm::heap {

class TestSlice : public ChunkSource {
 public:
  static constexpr NodeId kSelf = 1;  // not the first, so that the slice does not begin at the range's base

  // `protection` is what a chunk gets when it is taken.
  explicit TestSlice(std::uint64_t bytes, int protection = PROT_READ | PROT_WRITE) : protection_(protection) {
    const std::uint64_t reserved = 2 * bytes + kChunkBytes;
    mapping_ = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    DSM_CHECK(mapping_ != MAP_FAILED, "cannot reserve {} bytes", reserved);
    mapping_bytes_ = reserved;
    geometry_.base = (reinterpret_cast<std::uint64_t>(mapping_) + kChunkBytes - 1) & ~(kChunkBytes - 1);
    geometry_.slice_bytes = bytes;
    geometry_.nodes = 2;
    shared_ = std::vector<std::atomic<bool>>(bytes >> kChunkShift);
  }
  ~TestSlice() override { munmap(mapping_, mapping_bytes_); }
  TestSlice(const TestSlice&) = delete;
  TestSlice& operator=(const TestSlice&) = delete;

  const Geometry& geometry() const { return geometry_; }
  std::uint64_t begin() const { return geometry_.address_of(geometry_.slice_first(kSelf)); }
  bool holds(const void* block, std::size_t bytes) const {
    const std::uint64_t offset = reinterpret_cast<std::uint64_t>(block) - begin();
    return offset < geometry_.slice_bytes && bytes <= geometry_.slice_bytes - offset;
  }
  std::uint64_t chunk_of(const void* address) const {
    return (reinterpret_cast<std::uint64_t>(address) - begin()) >> kChunkShift;
  }

  void* take(std::uint64_t chunks, std::size_t alignment) override {
    const std::scoped_lock locked(mutex_);
    const std::uint64_t address = (begin() + taken_ * kChunkBytes + alignment - 1) & ~(alignment - 1);
    if (address + chunks * kChunkBytes > begin() + geometry_.slice_bytes) return nullptr;
    taken_ = ((address - begin()) >> kChunkShift) + chunks;
    void* first = reinterpret_cast<void*>(address);
    DSM_CHECK(mprotect(first, chunks * kChunkBytes, protection_) == 0, "cannot open {} chunks", chunks);
    return first;
  }

  bool purge(void* address, std::size_t bytes) override {
    DSM_CHECK(bytes > 0 && holds(address, bytes), "purge of {} bytes outside of the slice", bytes);
    purges_.fetch_add(1);
    for (std::uint64_t chunk = chunk_of(address); chunk <= chunk_of(static_cast<std::byte*>(address) + bytes - 1);
         ++chunk) {
      if (shared_[chunk]) return false;
    }
    if (protection_ != PROT_NONE) DSM_CHECK(madvise(address, bytes, MADV_DONTNEED) == 0, "cannot drop {}", bytes);
    return true;
  }

  void share(std::uint64_t chunk) { shared_[chunk] = true; }
  std::uint64_t chunks_taken() const {
    const std::scoped_lock locked(mutex_);
    return taken_;
  }
  std::uint64_t purges() const { return purges_; }

 private:
  const int protection_;
  void* mapping_;
  std::uint64_t mapping_bytes_;
  Geometry geometry_;
  mutable std::mutex mutex_;
  std::uint64_t taken_ = 0;  // chunks before this one are taken
  std::vector<std::atomic<bool>> shared_;
  std::atomic<std::uint64_t> purges_{0};
};

// A heap over a slice of its own.
struct TestHeap {
  explicit TestHeap(std::uint64_t slice_bytes, unsigned arenas = 0, int protection = PROT_READ | PROT_WRITE)
      : slice(slice_bytes, protection), heap(make(slice, arenas)) {}

  static std::unique_ptr<Heap> make(TestSlice& slice, unsigned arenas) {
    auto made = make_heap(slice.geometry(), TestSlice::kSelf, slice, arenas);
    DSM_CHECK(made.has_value(), "{}", made.error().context);
    return std::move(*made);
  }

  Heap* operator->() const { return heap.get(); }

  TestSlice slice;
  std::unique_ptr<Heap> heap;
};

inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
inline constexpr Kind kKinds[] = {Kind::kRaw, Kind::kObject};

}  // namespace dsm::heap
