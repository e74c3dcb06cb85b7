// One-sided operations: order within a chain, atomicity between nodes, the own node, bounds.
#include <array>
#include <numeric>
#include <thread>

#include "tests/contract/transport_world.h"

namespace dsm::net::test {
namespace {

class TransportOperations : public TransportTest {};
DSM_ON_EVERY_WORLD(TransportOperations);

TEST_P(TransportOperations, ChainTakesEffectInOrder) {
  const auto world = make_world(2);
  run_nodes(*world, 2, [](Transport& t) {
    for (NodeId target = 0; target < 2; ++target) {
      const std::uint64_t at = 64 + 64u * t.self();
      const std::uint64_t seven = 7;
      std::uint64_t first = 0;
      std::uint64_t last = 0;
      Op chain[] = {write_op(Region::kMeta, at, &seven, 8), read_op(Region::kMeta, at, &first, 8),
                    cas_op(Region::kMeta, at, 7, 20),       cas_op(Region::kMeta, at, 7, 30),
                    fetch_add_op(Region::kMeta, at, 5),     read_op(Region::kMeta, at, &last, 8)};
      ASSERT_TRUE(t.execute(target, chain).has_value());
      EXPECT_EQ(first, 7u);
      EXPECT_EQ(chain[2].old, 7u);
      EXPECT_EQ(chain[3].old, 20u) << "a compare-and-swap that fails reports what it found";
      EXPECT_EQ(chain[4].old, 20u);
      EXPECT_EQ(last, 25u);
    }
  });
}

TEST_P(TransportOperations, ChainsAreOnTheirWayTogether) {
  const auto world = make_world(3);
  Shared<Meeting> meeting;
  run_nodes(*world, 3, [&](Transport& t) {
    constexpr std::uint64_t kRounds = 50;
    for (std::uint64_t round = 1; round <= kRounds; ++round) {
      std::array<std::array<Op, 2>, 3> chains;
      std::array<std::uint64_t, 3> seen{};
      std::array<Posted, 3> posted;
      for (NodeId target = 0; target < 3; ++target) {
        chains[target] = {fetch_add_op(Region::kMeta, 8u * t.self(), 1),
                          read_op(Region::kMeta, 8u * t.self(), &seen[target], 8)};
        const auto begun = t.post(target, chains[target]);
        ASSERT_TRUE(begun.has_value());
        posted[target] = *begun;
      }
      for (NodeId target = 3; target-- > 0;) {
        ASSERT_TRUE(t.finish(target, posted[target]).has_value());
        EXPECT_EQ(chains[target][0].old, round - 1);
        EXPECT_EQ(seen[target], round);
      }
    }
    meeting->meet(3);
  });
}

// More than a transport may have on their way, large ones among them, and others executed meanwhile.
TEST_P(TransportOperations, ManyChainsAreOnTheirWay) {
  constexpr std::uint32_t kChains = 12, kBytes = 70'000;
  const auto world = make_world(2);
  Shared<Meeting> meeting;
  run_nodes(*world, 2, [&](Transport& t) {
    const auto peer = static_cast<NodeId>(1 - t.self());
    std::vector<std::vector<std::uint8_t>> out(kChains), in(kChains, std::vector<std::uint8_t>(kBytes));
    std::vector<std::array<Op, 3>> chains(kChains);
    std::vector<Posted> posted(kChains);
    for (std::uint32_t round = 0; round < 3; ++round) {
      for (std::uint32_t i = 0; i < kChains; ++i) {
        out[i].assign(kBytes, static_cast<std::uint8_t>(round * 50 + i + 1));
        const std::uint64_t offset = i * std::uint64_t{kBytes};
        chains[i] = {write_op(Region::kMemory, offset, out[i].data(), kBytes),
                     read_op(Region::kMemory, offset, in[i].data(), kBytes), fetch_add_op(Region::kMeta, 8 * i, 1)};
        const auto begun = t.post(peer, chains[i]);
        ASSERT_TRUE(begun.has_value());
        posted[i] = *begun;
        EXPECT_EQ(run_one(t, peer, fetch_add_op(Region::kMeta, 8 * kChains, 1)), round * kChains + i);
      }
      for (std::uint32_t i = 0; i < kChains; ++i) {
        const std::uint32_t chain = i * 5 % kChains;
        ASSERT_TRUE(t.finish(peer, posted[chain]).has_value());
        EXPECT_EQ(in[chain], out[chain]);
        EXPECT_EQ(chains[chain][2].old, round);
      }
    }
    meeting->meet(2);
  });
}

// Whatever a transport does with it: what arrives is what was asked for, also where another mapping was before.
TEST_P(TransportOperations, LentMemoryIsTheLocalSideOfLargeOperations) {
  constexpr std::size_t kBytes = 256 << 10;
  const auto world = make_world(2);
  Shared<Meeting> meeting;
  run_nodes(*world, 2, [&](Transport& t) {
    const auto peer = static_cast<NodeId>(1 - t.self());
    void* at = nullptr;
    for (std::uint64_t life = 0; life < 3; ++life) {
      at = mmap(at, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      ASSERT_NE(at, MAP_FAILED);
      auto* const words = static_cast<std::uint64_t*>(at);
      t.lend(static_cast<std::byte*>(at), kBytes);
      for (std::uint64_t round = 0; round < 8; ++round) {
        const std::uint64_t first = (life * 8 + round) * kBytes;
        for (std::uint64_t i = 0; i < kBytes / 8; ++i) words[i] = first + i;
        Op there = write_op(Region::kMemory, 0, words, kBytes);
        ASSERT_TRUE(t.execute(peer, {&there, 1}).has_value());
        std::fill_n(words, kBytes / 8, 0);
        Op back = read_op(Region::kMemory, 0, words, kBytes);
        ASSERT_TRUE(t.execute(peer, {&back, 1}).has_value());
        for (std::uint64_t i = 0; i < kBytes / 8; ++i) ASSERT_EQ(words[i], first + i);
      }
      t.unmap_lent(static_cast<std::byte*>(at), kBytes);
    }
    meeting->meet(2);
  });
}

TEST_P(TransportOperations, BytesArriveAnywhereInARegion) {
  const auto world = make_world(2);
  Shared<Meeting> meeting;
  run_nodes(*world, 2, [&](Transport& t) {
    const auto peer = static_cast<NodeId>(1 - t.self());
    const std::uint64_t offsets[] = {0, 4096, 8192 + 1, 3 * 8192 + 4, kMemoryBytes - 4097};
    for (const std::uint32_t bytes : {1u, 7u, 8u, 64u, 100u, 4096u, 4097u}) {
      std::vector<std::uint8_t> out(bytes);
      std::iota(out.begin(), out.end(), static_cast<std::uint8_t>(t.self() * 100 + bytes));
      for (const std::uint64_t offset : offsets) {
        std::vector<std::uint8_t> in(bytes);
        Op chain[] = {write_op(Region::kMemory, offset, out.data(), bytes),
                      read_op(Region::kMemory, offset, in.data(), bytes)};
        ASSERT_TRUE(t.execute(peer, chain).has_value());
        EXPECT_EQ(in, out) << bytes << " bytes at " << offset;
      }
      meeting->meet(2);
    }
    run_one(t, peer, read_op(Region::kMemory, kMemoryBytes, nullptr, 0));
  });
}

// The writer changes all words, then the flag; the reader reads the flag, then the words. No word may be older.
TEST_P(TransportOperations, WritesOfAChainBecomeVisibleInOrder) {
  constexpr std::uint64_t kRounds = 5000;
  constexpr std::size_t kWords = 32;
  const auto world = make_world(3);
  run_nodes(*world, 3, [](Transport& t) {
    std::uint64_t words[kWords] = {};
    std::uint64_t flag = 0;
    if (t.self() == 0) {
      for (flag = 1; flag <= kRounds; ++flag) {
        std::fill_n(words, kWords, flag);
        Op chain[] = {write_op(Region::kMemory, 4096, words, sizeof words), write_op(Region::kMemory, 0, &flag, 8)};
        ASSERT_TRUE(t.execute(1, chain).has_value());
      }
      return;
    }
    while (flag < kRounds) {
      Op chain[] = {read_op(Region::kMemory, 0, &flag, 8), read_op(Region::kMemory, 4096, words, sizeof words)};
      ASSERT_TRUE(t.execute(1, chain).has_value());
      for (const std::uint64_t word : words) ASSERT_GE(word, flag);
    }
  });
}

// Store buffering: both nodes write their own word and read the other's. In one chain or in two, one of them sees.
TEST_P(TransportOperations, AReadDoesNotOvertakeAWrite) {
  const std::uint64_t kRounds = rounds(20000);
  const auto world = make_world(3);
  struct Table {
    Meeting meeting;
    std::uint64_t seen[2];
  };
  Shared<Table> table;
  run_nodes(*world, 3, [&](Transport& t) {
    if (t.self() == 2) return;
    const std::uint64_t mine = t.self() * 128u;
    const std::uint64_t theirs = 128u - mine;
    for (std::uint64_t round = 1; round <= kRounds; ++round) {
      Op chain[] = {write_op(Region::kMeta, mine, &round, 8),
                    read_op(Region::kMeta, theirs, &table->seen[t.self()], 8)};
      table->meeting.meet(2);
      if (round % 2 == 0) {
        ASSERT_TRUE(t.execute(2, chain).has_value());
      } else {
        ASSERT_TRUE(t.execute(2, {chain, 1}).has_value());
        ASSERT_TRUE(t.execute(2, {chain + 1, 1}).has_value());
      }
      table->meeting.meet(2);
      ASSERT_TRUE(table->seen[0] == round || table->seen[1] == round) << "round " << round;
    }
  });
}

TEST_P(TransportOperations, AtomicsOfAllNodesAddUp) {
  constexpr unsigned kNodes = 4;
  constexpr unsigned kThreads = 2;
  constexpr std::uint64_t kEach = 20000;
  constexpr std::uint64_t kAll = kNodes * kThreads * kEach;
  const auto world = make_world(kNodes);
  struct Table {
    Meeting start;
    std::atomic<std::uint8_t> taken[kAll];
  };
  Shared<Table> table;
  run_nodes(*world, kNodes, [&](Transport& t) {
    const auto work = [&] {
      table->start.meet(kNodes * kThreads);
      for (std::uint64_t i = 0; i < kEach; ++i) {
        const std::uint64_t old = run_one(t, 1, fetch_add_op(Region::kMeta, 8, 1));
        ASSERT_LT(old, kAll);
        ASSERT_EQ(table->taken[old].fetch_add(1), 0) << "two additions found " << old;
        for (std::uint64_t expected = 0;;) {
          const std::uint64_t found = run_one(t, 1, cas_op(Region::kMeta, 16, expected, expected + 3));
          if (found == expected) break;
          expected = found;
        }
      }
    };
    std::thread other(work);
    work();
    other.join();
    run_one(t, 1, fetch_add_op(Region::kMeta, 24, 1));
    while (run_one(t, 1, fetch_add_op(Region::kMeta, 24, 0)) != kNodes) std::this_thread::yield();
    EXPECT_EQ(run_one(t, 1, fetch_add_op(Region::kMeta, 8, 0)), kAll);
    EXPECT_EQ(run_one(t, 1, fetch_add_op(Region::kMeta, 16, 0)), 3 * kAll);
  });
}

TEST_P(TransportOperations, ANodeAloneWorks) {
  const auto world = make_world(1);
  run_nodes(*world, 1, [](Transport& t) {
    EXPECT_EQ(run_one(t, 0, fetch_add_op(Region::kMeta, 0, 41)), 0u);
    EXPECT_EQ(run_one(t, 0, cas_op(Region::kMeta, 0, 41, 1)), 41u);
    EXPECT_EQ(run_one(t, 0, cas_op(Region::kMeta, 0, 41, 2)), 1u);
    EXPECT_EQ(t.self(), 0);
    EXPECT_EQ(t.nodes(), 1u);
    EXPECT_EQ(t.failed(), 0u);
  });
}

TEST_P(TransportOperations, OutOfBoundsIsABug) {
  const auto world = make_world(1);
  const auto transport = world->join(0);
  char byte[16] = {};
  EXPECT_DEATH(run_one(*transport, 0, read_op(Region::kMemory, kMemoryBytes - 1, byte, 2)), "bytes at");
  EXPECT_DEATH(run_one(*transport, 0, write_op(Region::kMeta, kMetaBytes, byte, 1)), "bytes at");
  EXPECT_DEATH(run_one(*transport, 0, write_op(Region::kMeta, UINT64_MAX - 3, byte, 8)), "bytes at");
  EXPECT_DEATH(run_one(*transport, 0, fetch_add_op(Region::kMeta, kMetaBytes - 4, 1)), "bytes at");
  EXPECT_DEATH(run_one(*transport, 0, fetch_add_op(Region::kMeta, 4, 1)), "atomic at");
  EXPECT_DEATH(run_one(*transport, 1, fetch_add_op(Region::kMeta, 8, 1)), "node 1 of 1");
}

}  // namespace
}  // namespace dsm::net::test
