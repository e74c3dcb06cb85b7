#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <vector>

#include "heap/remote_frees.h"

namespace dsm::heap {
namespace {

void* block(std::uint64_t number) { return reinterpret_cast<void*>(0x1000 + number * 16); }
std::uint64_t address(std::uint64_t number) { return reinterpret_cast<std::uint64_t>(block(number)); }

TEST(RemoteFrees, AFullBatchComesOutWithTheBlockThatFillsIt) {
  RemoteFrees frees;
  for (std::uint64_t round = 0; round < 3; ++round) {
    for (std::uint64_t i = 0; i + 1 < kFreesPerBatch; ++i) {
      ASSERT_FALSE(frees.add(7, block(i)).has_value());
      ASSERT_EQ(frees.waiting(), node_bit(7));
    }
    const auto full = frees.add(7, block(kFreesPerBatch - 1));
    ASSERT_TRUE(full.has_value());
    ASSERT_EQ(full->used().size(), kFreesPerBatch);
    for (std::uint64_t i = 0; i < kFreesPerBatch; ++i) EXPECT_EQ(full->used()[i], address(i));
    EXPECT_EQ(frees.waiting(), 0U);
  }
}

TEST(RemoteFrees, NodesDoNotMix) {
  RemoteFrees frees;
  const auto last = static_cast<NodeId>(kMaxNodes - 1);
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_FALSE(frees.add(0, block(i)).has_value());
  for (std::uint64_t i = 5; i < 8; ++i) EXPECT_FALSE(frees.add(last, block(i)).has_value());
  EXPECT_EQ(frees.waiting(), node_bit(0) | node_bit(last));

  const FreeBatch of_last = frees.take(last);
  ASSERT_EQ(of_last.used().size(), 3U);
  EXPECT_EQ(of_last.used()[0], address(5));
  EXPECT_EQ(of_last.used()[2], address(7));
  EXPECT_EQ(frees.waiting(), node_bit(0));
  EXPECT_EQ(frees.take(0).used().size(), 5U);
  EXPECT_EQ(frees.waiting(), 0U);
}

TEST(RemoteFrees, TakingNothingGivesNothing) {
  RemoteFrees frees;
  EXPECT_TRUE(frees.take(3).used().empty());
  EXPECT_FALSE(frees.add(3, block(1)).has_value());
  EXPECT_EQ(frees.take(3).used().size(), 1U);
  EXPECT_TRUE(frees.take(3).used().empty());
}

// Four threads add, one takes meanwhile; every block comes out once.
TEST(RemoteFrees, LoseAndDoubleNothingUnderThreads) {
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kBlocks = 50'000;
  constexpr std::uint64_t kNodes = 3;
  RemoteFrees frees;
  std::mutex mutex;
  std::vector<std::uint64_t> out[kNodes];
  const auto keep = [&](NodeId node, const FreeBatch& batch) {
    const std::scoped_lock locked(mutex);
    out[node].insert(out[node].end(), batch.used().begin(), batch.used().end());
  };
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < kBlocks; ++i) {
        const std::uint64_t number = i * kThreads + t;
        const auto node = static_cast<NodeId>(number % kNodes);
        if (const auto full = frees.add(node, block(number))) keep(node, *full);
      }
    });
  }
  std::atomic<bool> stop{false};
  std::thread taker([&] {
    for (unsigned turn = 0; !stop; ++turn) {
      const auto node = static_cast<NodeId>(turn % kNodes);
      if (contains(frees.waiting(), node)) keep(node, frees.take(node));
    }
  });
  for (auto& thread : threads) thread.join();
  stop = true;
  taker.join();
  for (NodeId node = 0; node < kNodes; ++node) {
    keep(node, frees.take(node));
    std::vector<std::uint64_t> expected;
    for (std::uint64_t number = node; number < kBlocks * kThreads; number += kNodes)
      expected.push_back(address(number));
    std::ranges::sort(out[node]);
    EXPECT_EQ(out[node], expected);
  }
  EXPECT_EQ(frees.waiting(), 0U);
}

}  // namespace
}  // namespace dsm::heap
