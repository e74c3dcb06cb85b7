// The headers of a block's granules at the end and the beginning of its life.
#include <gtest/gtest.h>

#include "proto/life.h"

namespace dsm::proto {
namespace {

constexpr Header kV = kOneVersion * 5;
constexpr Header standing(NodeId node) { return kV | held_by(Hold::kStanding, node); }
constexpr Header locked(NodeId node) { return kV | held_by(Hold::kLocked, node); }

TEST(EndOfLife, GivesANewVersionAndNoColour) {
  const LifeEnd end = end_of_life(kV | kColoured | kAsked, true);
  EXPECT_EQ(end.word, (kV + kOneVersion) | kAsked);
  EXPECT_EQ(end.forgets, kNoNode);
  EXPECT_FALSE(end.all_forget);
}

TEST(EndOfLife, OfWhatWasNeverChangedChangesNothing) {
  EXPECT_EQ(end_of_life(0, true).word, 0u);
  EXPECT_EQ(end_of_life(0, false).word, 0u);
}

TEST(EndOfLife, IsToldToTheStandingOwner) {
  const LifeEnd end = end_of_life(standing(3), true);
  EXPECT_EQ(end.forgets, 3u);
  EXPECT_TRUE(is_free(end.word));
}

TEST(EndOfLife, IsToldToAllWhenTheColoursBeginAnew) {
  const Header last = (kOneVersion << 16) - kOneVersion;
  EXPECT_TRUE(end_of_life(last, true).all_forget);
  EXPECT_FALSE(end_of_life(last - kOneVersion, true).all_forget);
  EXPECT_FALSE(end_of_life(last + kOneVersion, true).all_forget);
}

// A neighbour's borrow; or what is being given back, which has to be home before the block is used again.
TEST(EndOfLife, LeavesWhoIsAtWorkAlone) {
  for (const Header word : {locked(2), locked(2) | kWriting, kV | kOneReader * 3, kV | kAsked}) {
    for (const bool alone : {true, false}) {
      const LifeEnd end = end_of_life(word, alone);
      EXPECT_EQ(end.word, word + kOneVersion);
      EXPECT_EQ(end.forgets, alone && !is_free(word) ? NodeId{2} : kNoNode);
    }
  }
}

TEST(BeginOfLife, KeepsTheVersionAndWhoIsAtWork) {
  EXPECT_EQ(begin_of_life(0), kColoured);
  EXPECT_EQ(begin_of_life(locked(1) | kAsked), locked(1) | kAsked | kColoured);
}

TEST(Latch, SaysWhetherCopiesMayExist) {
  EXPECT_TRUE(may_have_copies(object_word(0b101)));
  EXPECT_TRUE(may_have_copies(exclusive_word(1, 0, 0b100) | kObjectsFinish)) << "claimed, but not all have left";
  EXPECT_FALSE(may_have_copies(exclusive_word(1, 0, 0b100)));
  EXPECT_FALSE(may_have_copies(kFreeWord));
}

TEST(Standing, NeedsAHeaderOfItsOwn) {
  EXPECT_TRUE(may_stand(640, 64) && may_stand(640, 4096));
  EXPECT_FALSE(may_stand(640, 63) || may_stand(656, 80));
}

}  // namespace
}  // namespace dsm::proto
