// The contract of heap.h, one thread.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <random>

#include "heap/jemalloc.h"
#include "heap_slice.h"

namespace dsm::heap {
namespace {

bool all_bytes(const void* block, std::size_t bytes, std::uint8_t value) {
  const auto* byte = static_cast<const std::uint8_t*>(block);
  return bytes == 0 || (byte[0] == value && std::memcmp(byte, byte + 1, bytes - 1) == 0);
}

TEST(HeapBlocks, OfAllSizesAreUsableDisjointAndInTheSlice) {
  TestHeap heap(4 * kGiB);
  for (const Kind kind : kKinds) {
    std::vector<std::pair<char*, std::size_t>> blocks;
    for (std::size_t bytes = 1; bytes <= 40 * kMiB; bytes += 1 + bytes / 3) {
      auto* block = static_cast<char*>(heap->allocate(bytes, 0, kind, false));
      ASSERT_NE(block, nullptr) << bytes;
      ASSERT_GE(heap->usable_size(block), bytes);
      ASSERT_TRUE(heap.slice.holds(block, heap->usable_size(block)));
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block) % (bytes >= 16 ? 16 : 8), 0U) << bytes;
      std::memset(block, static_cast<int>(blocks.size() & 0xff), heap->usable_size(block));
      blocks.emplace_back(block, heap->usable_size(block));
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      EXPECT_TRUE(all_bytes(blocks[i].first, blocks[i].second, static_cast<std::uint8_t>(i)));
      heap->release(blocks[i].first);
    }
  }
}

TEST(HeapBlocks, OfNoBytesAreUniqueAndNotNull) {
  TestHeap heap(64 * kMiB);
  for (const Kind kind : kKinds) {
    std::set<void*> blocks;
    for (int i = 0; i < 1000; ++i) {
      void* block = heap->allocate(0, i % 2 == 0 ? 0 : 64, kind, i % 3 == 0);
      ASSERT_NE(block, nullptr);
      ASSERT_TRUE(heap.slice.holds(block, 1));
      ASSERT_TRUE(blocks.insert(block).second);
    }
    for (void* block : blocks) heap->release(block);
  }
}

TEST(HeapBlocks, AreAlignedUpToOneGiB) {
  TestHeap heap(16 * kGiB);
  for (const Kind kind : kKinds) {
    for (std::size_t alignment = 1; alignment <= kGiB; alignment *= 2) {
      std::vector<char*> blocks;
      for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100}, std::size_t{5000}, 3 * kMiB}) {
        auto* block = static_cast<char*>(heap->allocate(bytes, alignment, kind, false));
        if (block == nullptr) {
          EXPECT_GT(alignment, kMiB) << "used up already";
          continue;
        }
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % alignment, 0U);
        EXPECT_GE(heap->usable_size(block), bytes);
        EXPECT_TRUE(heap.slice.holds(block, bytes));
        if (bytes > 0) block[0] = block[bytes - 1] = 1;
        blocks.push_back(block);
      }
      EXPECT_FALSE(blocks.empty()) << alignment;
      for (char* block : blocks) heap->release(block);
    }
  }
}

TEST(HeapBlocks, ZeroedOnesAreZeroWhateverWasThereBefore) {
  TestHeap heap(kGiB);
  for (const Kind kind : kKinds) {
    for (const std::size_t bytes :
         {std::size_t{8}, std::size_t{100}, std::size_t{5000}, std::size_t{70'000}, 20 * kMiB}) {
      for (const std::size_t alignment : {std::size_t{0}, std::size_t{16}, std::size_t{4096}}) {
        for (int round = 0; round < (bytes < kMiB ? 20 : 3); ++round) {
          void* block = heap->allocate(bytes, alignment, kind, true);
          ASSERT_NE(block, nullptr);
          ASSERT_TRUE(all_bytes(block, bytes, 0)) << bytes;
          std::memset(block, 0xee, heap->usable_size(block));
          heap->release(block);
        }
      }
    }
  }
}

TEST(HeapBlocks, ThatCannotBeAreNull) {
  TestHeap heap(64 * kMiB);
  constexpr std::size_t kMax = std::numeric_limits<std::size_t>::max();
  for (const Kind kind : kKinds) {
    for (const bool zero : {false, true}) {
      for (const std::size_t bytes : {kMax, kMax - 4096, kMax / 2 + 1, kMax / 2, 65 * kMiB, 64 * kMiB}) {
        EXPECT_EQ(heap->allocate(bytes, 0, kind, zero), nullptr) << bytes;
        EXPECT_EQ(heap->allocate(bytes, 4096, kind, zero), nullptr) << bytes;
      }
      EXPECT_EQ(heap->allocate(1, kGiB, kind, zero), nullptr);
      EXPECT_EQ(heap->allocate(kMax, kGiB, kind, zero), nullptr);
      EXPECT_EQ(heap->allocate(1, std::size_t{1} << 63, kind, zero), nullptr);
    }
    void* block = heap->allocate(100, 0, kind, false);
    ASSERT_NE(block, nullptr) << "the heap goes on";
    std::memset(block, 7, 100);
    EXPECT_EQ(heap->resize(block, kMax), nullptr);
    EXPECT_EQ(heap->resize(block, 65 * kMiB), nullptr);
    EXPECT_TRUE(all_bytes(block, 100, 7)) << "a resize that fails leaves the block as it was";
    heap->release(block);
  }
}

TEST(HeapBlocks, ResizeKeepsTheContentAndTheKind) {
  TestHeap heap(2 * kGiB);
  std::mt19937_64 random(1);
  for (const Kind kind : kKinds) {
    for (int round = 0; round < 200; ++round) {
      std::size_t bytes = 1 + random() % 100;
      auto* block = static_cast<char*>(heap->allocate(bytes, 0, kind, false));
      std::memset(block, round, bytes);
      for (int step = 0; step < 10; ++step) {
        const std::size_t wanted = 1 + random() % (std::size_t{1} << (4 + random() % 19));
        block = static_cast<char*>(heap->resize(block, wanted));
        ASSERT_NE(block, nullptr);
        ASSERT_TRUE(heap.slice.holds(block, wanted));
        ASSERT_GE(heap->usable_size(block), wanted);
        ASSERT_TRUE(all_bytes(block, std::min(bytes, wanted), static_cast<std::uint8_t>(round)));
        std::memset(block, round, wanted);
        bytes = wanted;
      }
      heap->release(block);
    }
  }
}

// Blocks of both kinds come and go, also by resize; a chunk that has held one kind never holds the other.
TEST(HeapBlocks, KindsNeverShareAChunk) {
  TestHeap heap(4 * kGiB, 2);
  std::mt19937_64 random(2);
  std::set<std::uint64_t> chunks[2];
  std::vector<std::pair<char*, int>> blocks;
  for (int step = 0; step < 100'000; ++step) {
    const std::size_t bytes = 1 + random() % (std::size_t{1} << (3 + random() % 18));
    if (!blocks.empty() && random() % 2 == 0) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      heap->release(blocks.back().first);
      blocks.pop_back();
    }
    int kind = static_cast<int>(random() % 2);
    char* block = nullptr;
    if (!blocks.empty() && random() % 4 == 0) {
      kind = blocks.back().second;
      block = static_cast<char*>(heap->resize(blocks.back().first, bytes));
      blocks.pop_back();
    } else {
      block = static_cast<char*>(heap->allocate(bytes, random() % 8 == 0 ? 256 : 0, kKinds[kind], false));
    }
    ASSERT_NE(block, nullptr);
    const char* last = block + heap->usable_size(block) - 1;
    for (auto chunk = heap.slice.chunk_of(block); chunk <= heap.slice.chunk_of(last); ++chunk) {
      chunks[kind].insert(chunk);
      ASSERT_FALSE(chunks[1 - kind].contains(chunk)) << "chunk " << chunk;
    }
    blocks.emplace_back(block, kind);
  }
  EXPECT_FALSE(chunks[0].empty());
  EXPECT_FALSE(chunks[1].empty());
  for (auto [block, kind] : blocks) heap->release(block);
}

TEST(HeapBlocks, AHeapAfterAHeapStartsAfresh) {
  for (int round = 0; round < 10; ++round) {
    TestHeap heap(64 * kMiB, 3);
    EXPECT_EQ(heap.slice.chunks_taken(), 0U);
    for (const Kind kind : kKinds) {
      void* block = heap->allocate(1000, 0, kind, true);
      ASSERT_TRUE(heap.slice.holds(block, 1000));
      EXPECT_TRUE(all_bytes(block, 1000, 0));
      std::memset(block, 0xee, 1000);  // and is not released
    }
  }
}

TEST(HeapBlocks, TooManyArenasAreABadOption) {
  TestSlice slice(64 * kMiB);
  const auto made = make_heap(slice.geometry(), TestSlice::kSelf, slice, kMaxArenas + 1);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, Errc::kBadOption);
}

// The options have reached the private jemalloc: one automatic arena.
TEST(HeapBlocks, OptionsOfJemallocAreOurs) {
  TestHeap heap(64 * kMiB);
  unsigned automatic = 0;
  std::size_t bytes = sizeof automatic;
  ASSERT_EQ(dsm_je_mallctl("opt.narenas", &automatic, &bytes, nullptr, 0), 0);
  EXPECT_EQ(automatic, 1U);
}

using HeapDeathTest = testing::Test;

TEST(HeapDeathTest, MisuseIsFatal) {
  TestHeap heap(64 * kMiB);
  EXPECT_DEATH(heap->allocate(100, 48, Kind::kRaw, false), "alignment 48 is no power of two");
  EXPECT_DEATH(TestHeap second(64 * kMiB), "one heap at a time");
  void* block = heap->allocate(1, 0, Kind::kRaw, false);
  EXPECT_DEATH(static_cast<void>(heap->resize(block, 0)), "cannot shrink to nothing");
  heap->release(block);
}

}  // namespace
}  // namespace dsm::heap
