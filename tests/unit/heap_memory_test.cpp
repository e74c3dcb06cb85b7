// Where the heap's memory comes from and goes to: no metadata in the slice, purging beside shared chunks, a slice that
// is used up.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <thread>

#include "heap_slice.h"

namespace dsm::heap {
namespace {

void fill(void* block, std::size_t bytes) {
  auto* word = static_cast<std::uint64_t*>(block);
  for (std::size_t i = 0; i < bytes / 8; ++i) word[i] = reinterpret_cast<std::uint64_t>(word + i) ^ 0x5555;
}

bool is_filled(const void* block, std::size_t bytes) {
  const auto* word = static_cast<const std::uint64_t*>(block);
  for (std::size_t i = 0; i < bytes / 8; ++i) {
    if (word[i] != (reinterpret_cast<std::uint64_t>(word + i) ^ 0x5555)) return false;
  }
  return true;
}

bool is_zero(const void* block, std::size_t bytes) {
  const auto* byte = static_cast<const char*>(block);
  return byte[0] == 0 && std::memcmp(byte, byte + 1, bytes - 1) == 0;
}

void churn(Heap& heap, std::uint64_t seed, int steps) {
  std::mt19937_64 random(seed);
  std::vector<void*> blocks(2000);
  for (int step = 0; step < steps; ++step) {
    void*& block = blocks[random() % blocks.size()];
    if (block != nullptr) heap.release(block);
    const std::size_t bytes = random() % (std::size_t{1} << (3 + random() % 17));
    const std::size_t alignment = random() % 4 == 0 ? std::size_t{1} << random() % 14 : 0;
    block = heap.allocate(bytes, alignment, kKinds[random() % 2], false);
    ASSERT_NE(block, nullptr);
    ASSERT_GE(heap.usable_size(block), bytes);
  }
  for (void* block : blocks) {
    if (block != nullptr) heap.release(block);
  }
}

// The slice's memory cannot be touched at all here: any metadata in it, and any look into a block, would be a SIGSEGV.
TEST(HeapMemory, AllocatingAndFreeingTouchNoByteOfTheSlice) {
  TestHeap heap(16 * kGiB, 2, PROT_NONE);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&heap, i] { churn(*heap.heap, static_cast<std::uint64_t>(i), 60'000); });
  churn(*heap.heap, 99, 60'000);
  for (auto& thread : threads) thread.join();
  EXPECT_GT(heap.slice.chunks_taken(), 0U);
}

// A freed block of this size is purged at once (jemalloc's oversize_threshold is 8 MiB).
TEST(HeapMemory, PurgingDropsPrivateChunksAndLeavesSharedOnesAlone) {
  for (const Kind kind : kKinds) {
    TestHeap heap(kGiB, 1);
    constexpr std::size_t kBytes = 20 * kMiB;
    auto* block = static_cast<char*>(heap->allocate(kBytes, kChunkBytes, kind, false));
    ASSERT_NE(block, nullptr);
    fill(block, kBytes);
    const std::uint64_t first = heap.slice.chunk_of(block);
    heap.slice.share(first + 3);
    heap.slice.share(first + 4);
    heap->release(block);
    EXPECT_GT(heap.slice.purges(), 0U);
    for (std::uint64_t i = 0; i < kBytes / kChunkBytes; ++i) {
      const char* chunk = block + i * kChunkBytes;
      if (i == 3 || i == 4) {
        EXPECT_TRUE(is_filled(chunk, kChunkBytes)) << "shared, so dropping it is not ours to do: " << i;
      } else {
        EXPECT_TRUE(is_zero(chunk, kChunkBytes)) << "private, and free for long enough: " << i;
      }
    }
    auto* again = static_cast<char*>(heap->allocate(kBytes, kChunkBytes, kind, true));
    EXPECT_EQ(again, block) << "retained memory is used again";
    EXPECT_TRUE(is_zero(again, kBytes)) << "jemalloc must not trust a purge that was refused";
    heap->release(again);
  }
}

// All blocks of the slice, each filled; nullptr came in the end.
std::vector<void*> use_up(TestHeap& heap, Kind kind, std::size_t bytes_max, std::uint64_t* total) {
  std::mt19937_64 random(bytes_max);
  std::vector<void*> blocks;
  *total = 0;
  for (int refused = 0; refused < 20;) {
    const std::size_t bytes = 8 + random() % bytes_max;
    void* block = heap->allocate(bytes, 0, kind, false);
    if (block == nullptr) {
      ++refused;
      continue;
    }
    EXPECT_TRUE(heap.slice.holds(block, heap->usable_size(block)));
    fill(block, heap->usable_size(block));
    blocks.push_back(block);
    *total += heap->usable_size(block);
  }
  return blocks;
}

TEST(HeapMemory, AUsedUpSliceGivesNullAndRecoversAfterFrees) {
  for (const Kind kind : kKinds) {
    for (const std::size_t bytes_max : {std::size_t{200}, std::size_t{3000}, std::size_t{100'000}, kMiB}) {
      TestHeap heap(32 * kMiB, 2);
      std::uint64_t before = 0;
      for (int round = 0; round < 3; ++round) {
        std::uint64_t total = 0;
        const std::vector<void*> blocks = use_up(heap, kind, bytes_max, &total);
        EXPECT_GT(total, 20 * kMiB) << "most of the slice was to be had for blocks up to " << bytes_max;
        EXPECT_GE(total, before / 10 * 9) << "round " << round;
        before = total;
        for (void* block : blocks) {
          ASSERT_TRUE(is_filled(block, heap->usable_size(block)));
          heap->release(block);
        }
      }
    }
  }
}

// What one thread has used up and freed, another one can have although its own arena is another.
TEST(HeapMemory, AUsedUpSliceServesAllThreads) {
  for (const Kind kind : kKinds) {
    TestHeap heap(32 * kMiB, 2);
    std::uint64_t mine = 0;
    for (void* block : use_up(heap, kind, 3000, &mine)) heap->release(block);
    std::uint64_t others = 0;
    std::thread([&] {
      for (void* block : use_up(heap, kind, 3000, &others)) heap->release(block);
    }).join();
    EXPECT_GT(others, mine / 10 * 9);

    const std::vector<void*> blocks = use_up(heap, kind, 3000, &mine);
    std::thread([&] {
      void* block = heap->allocate(64 * 1024, 0, kind, false);
      EXPECT_EQ(block, nullptr);
      for (std::size_t i = 0; i < blocks.size() / 2; ++i) heap->release(blocks[i]);
      block = heap->allocate(100, 0, kind, false);
      ASSERT_NE(block, nullptr);
      fill(block, 96);
      void* grown = heap->resize(block, 2000);  // has to move
      ASSERT_NE(grown, nullptr);
      heap->release(grown);
    }).join();
    for (std::size_t i = blocks.size() / 2; i < blocks.size(); ++i) heap->release(blocks[i]);
  }
}

// A small slice is not eaten up by one aligned block's leftovers: they serve other requests.
TEST(HeapMemory, LeftoversOfAlignmentAreUsed) {
  TestHeap heap(64 * kMiB, 1);
  void* aligned = heap->allocate(kMiB, 16 * kMiB, Kind::kRaw, false);
  ASSERT_NE(aligned, nullptr);
  std::uint64_t total = 0;
  for (void* block : use_up(heap, Kind::kRaw, 100'000, &total)) heap->release(block);
  EXPECT_GT(total, 50 * kMiB);
  heap->release(aligned);
}

// jemalloc grows by 2.5 MiB for each of these blocks, which are two chunks: the rest of the second one is not lost.
TEST(HeapMemory, RestsOfChunksAreUsed) {
  TestHeap heap(4 * kChunkBytes, 1);
  void* first = heap->allocate(2300 * 1024, 0, Kind::kRaw, false);
  void* second = heap->allocate(2300 * 1024, 0, Kind::kRaw, false);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(heap.slice.chunks_taken(), 4U);
  std::uint64_t total = 0;
  for (void* block : use_up(heap, Kind::kRaw, 1000, &total)) heap->release(block);
  EXPECT_GT(total, kMiB);
  heap->release(first);
  heap->release(second);
}

TEST(HeapMemory, AForkedChildHasAHeapOfItsOwn) {
  TestHeap heap(kGiB, 2);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      for (std::uint64_t seed = static_cast<std::uint64_t>(i); !stop; seed += 2) churn(*heap.heap, seed, 1000);
    });
  }
  auto* block = static_cast<std::uint64_t*>(heap->allocate(800, 0, Kind::kRaw, false));
  fill(block, 800);
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      alarm(60);  // a lock that somebody held at the fork would keep it for ever
      churn(*heap.heap, 1, 2000);
      const bool good = is_filled(block, 800);
      heap->release(block);
      _exit(good ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(is_filled(block, 800));
  heap->release(block);
}

}  // namespace
}  // namespace dsm::heap
