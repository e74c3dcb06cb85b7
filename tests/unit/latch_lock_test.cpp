// Locks over several nodes, without global memory: latch_lock on the page protocol and the shm transport.
#include "runtime/latch_lock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "runtime/holds.h"
#include "tests/unit/latch_rig.h"

namespace dsm {
namespace {

using runtime::Hold;
using runtime::latch_held;
using runtime::latch_lock;
using runtime::latch_try_lock;
using runtime::latch_unlock;

constexpr unsigned kNodes = 4;
constexpr unsigned kThreads = 2;

std::uint64_t sent(LatchRig& rig) {
  std::uint64_t messages = 0;
  for (unsigned node = 0; node < rig.count(); ++node) messages += rig[node].stats->message_sent.load();
  return messages;
}

// Threads count with the lock held, by load and store: the lock alone keeps them from losing any.
template <typename Load, typename Store>
void count_exactly(unsigned nodes, unsigned threads, Load load, Store store) {
  constexpr unsigned kRounds = 10000;
  LatchRig rig(nodes);
  rig.start();
  const PageId lock = rig.lock_of(nodes - 1);
  rig.on_all(threads, [&](unsigned node, unsigned) {
    for (unsigned round = 0; round < kRounds; ++round) {
      ASSERT_TRUE(latch_lock(rig[node], lock, Hold::kExclusive));
      const std::uint64_t before = load();
      if (round % 64 == 0) std::this_thread::yield();  // with the lock held
      store(before + 1);
      ASSERT_TRUE(latch_unlock(rig[node], lock, Hold::kExclusive));
    }
  });
  EXPECT_EQ(load(), std::uint64_t{nodes} * threads * kRounds);
}

// Plain memory: a thread sanitizer sees whether the lock orders the threads of a node.
TEST(LatchLock, ExcludesThreads) {
  volatile std::uint64_t counter = 0;
  count_exactly(
      1, 4, [&] { return counter; }, [&](std::uint64_t value) { counter = value; });
}

// Relaxed atomics: that nodes order each other through shared memory, which each maps elsewhere, no sanitizer can see.
TEST(LatchLock, ExcludesAcrossNodesAndThreads) {
  std::atomic<std::uint64_t> counter{0};
  count_exactly(
      kNodes, kThreads, [&] { return counter.load(std::memory_order_relaxed); },
      [&](std::uint64_t value) { counter.store(value, std::memory_order_relaxed); });
}

// Everybody contends until every thread has had some turns: if one starved, this would never end.
void contend(unsigned nodes, unsigned threads) {
  LatchRig rig(nodes);
  rig.start();
  const PageId lock = rig.lock_of(0);
  constexpr unsigned kTurns = 100;
  std::vector<std::atomic<unsigned>> turns(nodes * threads);
  std::atomic<unsigned> hungry{nodes * threads};
  std::barrier ready(nodes * threads);
  rig.on_all(threads, [&](unsigned node, unsigned thread) {
    ready.arrive_and_wait();
    while (hungry.load() != 0) {
      latch_lock(rig[node], lock, Hold::kExclusive);
      if (turns[node * threads + thread].fetch_add(1) + 1 == kTurns) hungry.fetch_sub(1);
      latch_unlock(rig[node], lock, Hold::kExclusive);
    }
  });
  for (unsigned i = 0; i < turns.size(); ++i)
    std::printf("thread %u of node %u: %u turns\n", i % threads, i / threads, turns[i].load());
}

TEST(LatchLock, NoNodeStarves) { contend(kNodes, kThreads); }
TEST(LatchLock, NoThreadStarves) { contend(1, 4); }

TEST(LatchLock, ALockOfOnesOwnNeedsNoMessage) {
  LatchRig rig(2);
  rig.start();
  const PageId lock = rig.lock_of(0);
  latch_lock(rig[1], lock, Hold::kExclusive);
  latch_unlock(rig[1], lock, Hold::kExclusive);
  const std::uint64_t before = sent(rig);
  for (unsigned round = 0; round < 100; ++round) {
    latch_lock(rig[1], lock, Hold::kExclusive);
    latch_unlock(rig[1], lock, Hold::kExclusive);
    latch_lock(rig[1], lock, Hold::kShared);
    latch_unlock(rig[1], lock, Hold::kShared);
  }
  EXPECT_EQ(sent(rig), before);
  EXPECT_EQ(rig[1].stats->lock_local.load(), 200U);
  EXPECT_EQ(rig[1].stats->lock_remote.load(), 1U);
}

// All readers are inside together, whoever had the lock before: were one of them shut out, this would never end.
TEST(LatchLock, ReadersOfAllNodesAreInTogether) {
  LatchRig rig(kNodes);
  rig.start();
  const PageId lock = rig.lock_of(2);
  std::barrier inside(kNodes * kThreads);
  std::barrier outside(kNodes * kThreads);
  rig.on_all(kThreads, [&](unsigned node, unsigned thread) {
    for (unsigned round = 0; round < 100; ++round) {
      if (thread == 0 && round % (kNodes + 1) == node) {
        latch_lock(rig[node], lock, Hold::kExclusive);
        latch_unlock(rig[node], lock, Hold::kExclusive);
      }
      outside.arrive_and_wait();
      latch_lock(rig[node], lock, Hold::kShared);
      inside.arrive_and_wait();
      latch_unlock(rig[node], lock, Hold::kShared);
      outside.arrive_and_wait();
    }
  });
}

TEST(LatchLock, WritersAreAlone) {
  LatchRig rig(kNodes);
  rig.start();
  const PageId lock = rig.lock_of(3);
  std::atomic<int> readers{0}, writers{0};
  rig.on_all(kThreads, [&](unsigned node, unsigned thread) {
    for (unsigned round = 0; round < 10000; ++round) {
      if ((round + node + thread) % 4 == 0) {
        latch_lock(rig[node], lock, Hold::kExclusive);
        EXPECT_EQ(writers.fetch_add(1), 0);
        EXPECT_EQ(readers.load(), 0);
        if (round % 64 < 4) std::this_thread::yield();  // with the lock held
        writers.fetch_sub(1);
        latch_unlock(rig[node], lock, Hold::kExclusive);
      } else {
        latch_lock(rig[node], lock, Hold::kShared);
        readers.fetch_add(1);
        EXPECT_EQ(writers.load(), 0);
        if (round % 64 < 4) std::this_thread::yield();
        readers.fetch_sub(1);
        latch_unlock(rig[node], lock, Hold::kShared);
      }
    }
  });
}

TEST(LatchLock, AWriterGetsInAmongReadersThatNeverAllLeave) {
  LatchRig rig(2);
  rig.start();
  const PageId lock = rig.lock_of(0);
  std::atomic<bool> written{false};
  rig.on_all(3, [&](unsigned node, unsigned thread) {
    if (node == 1 && thread == 0) {
      latch_lock(rig[node], lock, Hold::kExclusive);
      written = true;
      latch_unlock(rig[node], lock, Hold::kExclusive);
    }
    while (!written) {
      latch_lock(rig[node], lock, Hold::kShared);
      std::this_thread::yield();
      latch_unlock(rig[node], lock, Hold::kShared);
    }
  });
}

TEST(LatchLock, TryLockFailsWhileAnotherNodeHoldsItAndSucceedsLater) {
  LatchRig rig(2);
  rig.start();
  const PageId lock = rig.lock_of(0);
  std::barrier step(2);
  rig.on_all(1, [&](unsigned node, unsigned) {
    if (node == 0) {
      latch_lock(rig[0], lock, Hold::kExclusive);
      step.arrive_and_wait();
      step.arrive_and_wait();
      latch_unlock(rig[0], lock, Hold::kExclusive);
      step.arrive_and_wait();
    } else {
      step.arrive_and_wait();
      EXPECT_FALSE(latch_try_lock(rig[1], lock, Hold::kExclusive));
      EXPECT_FALSE(latch_try_lock(rig[1], lock, Hold::kShared));
      step.arrive_and_wait();
      step.arrive_and_wait();
      while (!latch_try_lock(rig[1], lock, Hold::kExclusive)) std::this_thread::yield();
      EXPECT_FALSE(latch_try_lock(rig[1], lock, Hold::kExclusive));
      EXPECT_TRUE(latch_unlock(rig[1], lock, Hold::kExclusive));
    }
  });
}

// A request of try_lock that is granted when the thread has given up must not make the node keep the lock for ever.
TEST(LatchLock, AGrantThatNobodyWaitsForIsPassedOn) {
  LatchRig rig(3);
  rig.start();
  const PageId lock = rig.lock_of(0);
  for (unsigned round = 0; round < 20; ++round) {
    latch_lock(rig[0], lock, Hold::kExclusive);
    std::thread([&] { EXPECT_FALSE(latch_try_lock(rig[1], lock, Hold::kExclusive)); }).join();
    latch_unlock(rig[0], lock, Hold::kExclusive);
    latch_lock(rig[2], lock, Hold::kExclusive);
    latch_unlock(rig[2], lock, Hold::kExclusive);
  }
}

// DSM_KEEP_US: in its turn a node keeps a lock that another one waits for, as long as its threads go on taking it.
TEST(LatchLock, IsKeptInTurnWhileItIsTaken) {
  constexpr std::int64_t kTurnNs = 400'000'000;
  constexpr unsigned kTrials = 50;
  LatchRig rig(2);
  for (unsigned node = 0; node < rig.count(); ++node) {
    rig[node].config.keep_us = kTurnNs / 1000;
    rig[node].holds = runtime::Holds::create(rig[node]).value();
    rig[node].holds->start();
  }
  rig.start();
  bool kept = false;  // a thread that loses its CPU just then may lose the lock in one trial, not in all
  for (unsigned trial = 0; trial < kTrials && !kept; ++trial) {
    while (now_ns() % (2 * kTurnNs) > kTurnNs / 2) std::this_thread::yield();  // until node 0's turn begins
    const PageId lock = rig.lock_of(0, trial);
    ASSERT_TRUE(latch_lock(rig[0], lock, Hold::kExclusive));
    std::thread other([&] {
      EXPECT_TRUE(latch_lock(rig[1], lock, Hold::kExclusive));
      EXPECT_TRUE(latch_unlock(rig[1], lock, Hold::kExclusive));
    });
    runtime::Entry& entry = rig[0].pages->entry(lock);
    for (bool asked = false; !asked; std::this_thread::yield()) {
      const std::lock_guard guard(entry.lock);
      asked = entry.page.look_asked;
    }
    const auto handed_over = [&] { return rig[0].stats->lock_remote.load() + rig[1].stats->lock_remote.load(); };
    const std::uint64_t before = handed_over();
    ASSERT_TRUE(latch_unlock(rig[0], lock, Hold::kExclusive));
    ASSERT_TRUE(latch_lock(rig[0], lock, Hold::kExclusive));
    kept = handed_over() == before;
    ASSERT_TRUE(latch_unlock(rig[0], lock, Hold::kExclusive));
    other.join();  // it has the lock as soon as nobody takes it here
  }
  EXPECT_TRUE(kept);
  for (unsigned node = 0; node < rig.count(); ++node) rig[node].holds->stop();
}

TEST(LatchLock, TellsWhoUsesItWrongly) {
  LatchRig rig(2);
  rig.start();
  const PageId lock = rig.lock_of(0);
  EXPECT_FALSE(latch_unlock(rig[0], lock, Hold::kExclusive));
  EXPECT_FALSE(latch_unlock(rig[0], lock, Hold::kShared));
  EXPECT_TRUE(latch_lock(rig[0], lock, Hold::kExclusive));
  EXPECT_FALSE(latch_lock(rig[0], lock, Hold::kExclusive)) << "by the same thread";
  EXPECT_FALSE(latch_lock(rig[0], lock, Hold::kShared)) << "by the same thread";
  std::thread([&] { EXPECT_FALSE(latch_unlock(rig[0], lock, Hold::kExclusive)); }).join();
  EXPECT_FALSE(latch_unlock(rig[1], lock, Hold::kExclusive));
  EXPECT_TRUE(latch_held(rig[0], lock));
  EXPECT_FALSE(latch_held(rig[1], lock));
  EXPECT_TRUE(latch_unlock(rig[0], lock, Hold::kExclusive));
  EXPECT_FALSE(latch_held(rig[0], lock));
}

}  // namespace
}  // namespace dsm
