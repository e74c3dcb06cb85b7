// The arithmetic of the latch word, over all nodes and all small sets.
#include <gtest/gtest.h>

#include <set>

#include "proto/latch.h"

namespace dsm::proto {
namespace {

TEST(LatchWord, ZeroIsExclusiveToTheHome) {
  for (NodeId home = 0; home < kMaxNodes; ++home) {
    EXPECT_EQ(exclusive_word(home, home), Word{0});
    EXPECT_TRUE(owned_by(0, home, home));
  }
  EXPECT_EQ(set_of(0), NodeSet{0});
  EXPECT_NE(kFreeWord, Word{0});
}

TEST(LatchWord, ExclusiveKeepsOwnerAndSetApart) {
  for (NodeId home = 0; home < kMaxNodes; ++home) {
    for (NodeId owner = 0; owner < kMaxNodes; ++owner) {
      for (const NodeSet set : {NodeSet{0}, NodeSet{1}, NodeSet{0b1011}, node_bit(kMaxNodes - 1), kSetMask}) {
        const Word word = exclusive_word(owner, home, set);
        EXPECT_TRUE(is_exclusive(word));
        EXPECT_FALSE(is_shared(word));
        EXPECT_EQ(owner_of(word, home), owner);
        EXPECT_EQ(set_of(word), set);
        for (NodeId node = 0; node < kMaxNodes; ++node) EXPECT_EQ(owned_by(word, node, home), node == owner);
      }
    }
  }
}

TEST(LatchWord, SharedKeepsItsSetAndHasNoOwner) {
  for (NodeSet set = 0; set < 256; ++set) {
    const Word word = shared_word(set);
    EXPECT_TRUE(is_shared(word));
    EXPECT_FALSE(is_exclusive(word));
    EXPECT_EQ(set_of(word), set);
    for (NodeId node = 0; node < kMaxNodes; ++node) {
      EXPECT_FALSE(owned_by(word, node, 0));
      EXPECT_FALSE(owned_by(word, node, node));
    }
  }
  EXPECT_EQ(set_of(shared_word(kSetMask)), kSetMask);
  EXPECT_EQ(kFreeWord, shared_word(0));
}

// Two different states never have the same word: compare-and-swap can rely on it.
TEST(LatchWord, WordsAreDistinct) {
  for (const NodeId home : {NodeId{0}, NodeId{5}, NodeId{47}}) {
    std::set<Word> words;
    std::size_t states = 0;
    for (NodeSet set = 0; set < 64; ++set) {
      words.insert(shared_word(set));
      for (NodeId owner = 0; owner < kMaxNodes; ++owner) words.insert(exclusive_word(owner, home, set));
      states += 1 + kMaxNodes;
    }
    EXPECT_EQ(words.size(), states);
  }
}

TEST(LatchWord, WithoutTakesOneNodeOutAndChangesNothingElse) {
  for (NodeSet set = 0; set < 64; ++set) {
    for (NodeId node = 0; node < 6; ++node) {
      EXPECT_EQ(without(shared_word(set), node), shared_word(set & ~node_bit(node)));
      EXPECT_EQ(without(exclusive_word(3, 5, set), node), exclusive_word(3, 5, set & ~node_bit(node)));
    }
  }
}

// The waiters word changes by fetch-add: what is added or taken away exactly never carries into other bits.
TEST(LatchWord, WaitersBitsAddAndSubtractExactly) {
  for (NodeSet before = 0; before < 64; ++before) {
    for (NodeSet taken = 0; taken < 64; ++taken) {
      if ((taken & ~before) != 0) continue;
      EXPECT_EQ(before + (~taken + 1), before & ~taken);
      EXPECT_EQ((before & ~taken) + taken, before);
    }
  }
}

NodeId next_by_walking(NodeSet set, NodeId node, unsigned size) {
  for (unsigned step = 1; step <= size; ++step) {
    const auto candidate = static_cast<NodeId>((node + step) % size);
    if (contains(set, candidate)) return candidate;
  }
  return kNoNode;
}

// Against the plain definition, for every set of 10 nodes and every node.
TEST(NextAfter, IsTheFirstInCyclicOrder) {
  for (NodeSet set = 0; set < 1024; ++set) {
    for (NodeId node = 0; node < 10; ++node) {
      EXPECT_EQ(next_after(set, node), next_by_walking(set, node, 10)) << set << " after " << int{node};
    }
  }
}

TEST(NextAfter, PairsOfAllNodes) {
  for (NodeId a = 0; a < kMaxNodes; ++a) {
    for (NodeId b = 0; b < kMaxNodes; ++b) {
      EXPECT_EQ(next_after(node_bit(a) | node_bit(b), a), b);
      EXPECT_EQ(next_after(node_bit(a) | node_bit(b), b), a);
    }
  }
}

TEST(NextAfter, HighestNodeWrapsAround) {
  EXPECT_EQ(next_after(kSetMask, 47), 0);
  EXPECT_EQ(next_after(kSetMask, 46), 47);
  EXPECT_EQ(next_after(0b1, 63), 0);
  EXPECT_EQ(next_after(0, 47), kNoNode);
}

// Everybody in the set has a turn before anybody has a second one.
TEST(NextAfter, TurnsAreFair) {
  for (NodeSet set = 1; set < 256; ++set) {
    NodeSet served = 0;
    NodeId node = 7;
    for (int turn = 0; turn < std::popcount(set); ++turn) {
      node = next_after(set, node);
      ASSERT_FALSE(contains(served, node));
      served |= node_bit(node);
    }
    EXPECT_EQ(served, set);
  }
}

}  // namespace
}  // namespace dsm::proto
