// Blocks that are apart: pages of their own, a bound, and otherwise blocks like any other.
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/unit/heap_slice.h"

namespace dsm::heap {
namespace {

constexpr std::uint64_t kBound = 4 * kMiB;

struct ApartHeap {
  TestSlice slice{kGiB};
  std::unique_ptr<Heap> heap = [this] {
    auto made = make_heap(slice.geometry(), TestSlice::kSelf, slice, 2, kBound);
    DSM_CHECK(made.has_value(), "{}", made.error().context);
    return std::move(*made);
  }();
  Heap* operator->() const { return heap.get(); }
  void* block(std::size_t bytes, bool zero = false) const { return heap->allocate(bytes, 0, Kind::kApart, zero); }
};

std::uint64_t page_of(const void* address) { return reinterpret_cast<std::uint64_t>(address) / kPageBytes; }

TEST(HeapApart, NoTwoBlocksShareAPage) {
  ApartHeap heap;
  std::set<std::uint64_t> pages;
  std::size_t expected = 0;
  for (const std::size_t bytes : {1U, 64U, 4096U, 4097U, 20'000U}) {
    for (int i = 0; i < 20; ++i) {
      auto* const block = static_cast<std::byte*>(heap.block(bytes));
      ASSERT_NE(block, nullptr);
      ASSERT_TRUE(heap.slice.holds(block, bytes));
      std::memset(block, 0xee, heap->usable_size(block));
      for (std::size_t at = 0; at < bytes; at += kPageBytes, ++expected) pages.insert(page_of(block + at));
      ASSERT_NE(heap->allocate(bytes, 0, Kind::kRaw, false), nullptr);  // an ordinary one in between
    }
  }
  EXPECT_EQ(pages.size(), expected);
}

TEST(HeapApart, ChunksAreNotSharedWithOrdinaryBlocks) {
  ApartHeap heap;
  std::set<std::uint64_t> apart, raw;
  for (int i = 0; i < 600; ++i) {
    apart.insert(heap.slice.chunk_of(heap.block(64)));
    raw.insert(heap.slice.chunk_of(heap->allocate(4096, 0, Kind::kRaw, false)));
  }
  for (const std::uint64_t chunk : apart) EXPECT_FALSE(raw.contains(chunk));
}

TEST(HeapApart, ThereIsABoundAndWhatIsFreedServesAgain) {
  ApartHeap heap;
  std::vector<void*> blocks;
  while (void* const block = heap.block(64)) blocks.push_back(block);
  EXPECT_LE(blocks.size(), kBound / kPageBytes);
  EXPECT_GE(blocks.size(), kBound / kPageBytes * 3 / 4);
  EXPECT_NE(heap->allocate(64, 0, Kind::kRaw, false), nullptr) << "the rest of the heap goes on";
  for (void* const block : blocks) heap->release(block);
  const std::size_t before = blocks.size();
  blocks.clear();
  while (void* const block = heap.block(64)) blocks.push_back(block);
  EXPECT_EQ(blocks.size(), before);
}

TEST(HeapApart, ResizedItStaysApartAndKeepsItsContent) {
  ApartHeap heap;
  auto* block = static_cast<std::byte*>(heap.block(64));
  std::memset(block, 7, 64);
  EXPECT_EQ(heap->resize(block, 3000), block) << "there is room for that";
  EXPECT_EQ(heap->resize(block, 8), block);
  auto* const neighbour = static_cast<std::byte*>(heap.block(64));
  block = static_cast<std::byte*>(heap->resize(block, 10'000));
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uint64_t>(block) % kPageBytes, 0U);
  EXPECT_GE(heap->usable_size(block), 10'000U);
  EXPECT_EQ(std::to_integer<int>(block[7]), 7);
  EXPECT_TRUE(page_of(neighbour) < page_of(block) || page_of(neighbour) > page_of(block + 9'999));
  EXPECT_NE(heap.slice.chunk_of(block), heap.slice.chunk_of(heap->allocate(10'000, 0, Kind::kRaw, false)));
  auto* const large = static_cast<std::byte*>(heap->resize(block, 2 * kBound));
  ASSERT_NE(large, nullptr) << "what is too large to be apart is a block still";
  EXPECT_EQ(std::to_integer<int>(large[7]), 7);
}

TEST(HeapApart, ZeroedItIsZeroWhateverWasThereBefore) {
  ApartHeap heap;
  for (int i = 0; i < 50; ++i) {
    auto* const block = static_cast<std::byte*>(heap.block(100, true));
    for (std::size_t at = 0; at < 100; ++at) ASSERT_EQ(block[at], std::byte{0});
    std::memset(block, 0xee, heap->usable_size(block));
    heap->release(block);
  }
}

TEST(HeapApart, WithoutMemoryForItThereIsNone) {
  TestHeap heap(kGiB);
  EXPECT_EQ(heap->allocate(64, 0, Kind::kApart, false), nullptr);
}

}  // namespace
}  // namespace dsm::heap
