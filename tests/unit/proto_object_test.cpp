// One borrow, step by step: the event, what it must lead to, and how it goes on. Node 1 is self, node 0 the home,
// unless a test says otherwise; kV is the header of an object that has been changed five times.
#include <gtest/gtest.h>

#include "proto/life.h"
#include "proto/object.h"

namespace dsm::proto {
namespace {

constexpr ObjectPlace kAway{.self = 1, .home = 0, .small = true};
constexpr ObjectPlace kAwayLarge{.self = 1, .home = 0, .small = false};
constexpr ObjectPlace kHome{.self = 0, .home = 0, .small = true};
constexpr ObjectPlace kHomeLarge{.self = 0, .home = 0, .small = false};
constexpr Header kV = 5 * kOneVersion;
constexpr Header locked(NodeId node, Header word = kV) { return word | held_by(Hold::kLocked, node); }
constexpr Header standing(NodeId node, Header word = kV) { return word | held_by(Hold::kStanding, node); }

BorrowEvent begin(Wish wish) { return {.kind = BorrowEventKind::kBorrow, .wish = wish}; }
BorrowEvent begin_with_copy(Wish wish, Header copy) {
  return {.kind = BorrowEventKind::kBorrow, .wish = wish, .have = true, .copy = copy};
}
BorrowEvent swapped(Header old) { return {.kind = BorrowEventKind::kDone, .old = old}; }
BorrowEvent looked(Header before) { return {.kind = BorrowEventKind::kDone, .before = before}; }
BorrowEvent read_between(Header before, Header after) {
  return {.kind = BorrowEventKind::kDone, .before = before, .after = after};
}
BorrowEvent settled(Header old) { return {.kind = BorrowEventKind::kDone, .settled = old}; }
BorrowEvent granted(Header word) { return {.kind = BorrowEventKind::kGranted, .have = true, .word = word}; }
BorrowEvent release(bool changed, NodeId to = kNoNode) {
  return {.kind = BorrowEventKind::kRelease, .changed = changed, .to = to};
}

// A borrow that holds the lock.
Borrow with_lock(ObjectPlace place) {
  Borrow borrow;
  step(borrow, place, begin_with_copy(Wish::kWrite, kV));
  EXPECT_EQ(step(borrow, place, swapped(kV)).outcome, Outcome::kLocked);
  return borrow;
}

TEST(Read, ChecksItsCopyByOneLookAtTheHeader) {
  Borrow borrow;
  const BorrowActions look = step(borrow, kAway, begin_with_copy(Wish::kRead, kV));
  EXPECT_TRUE(look.read_before);
  EXPECT_FALSE(look.read_bytes || look.read_after || look.swap || look.ask);
  EXPECT_EQ(step(borrow, kAway, looked(kV)).outcome, Outcome::kHit);
  EXPECT_EQ(borrow.stage, BorrowStage::kIdle);
}

TEST(Read, TakesItsCopyWhileAnotherHoldsOrWrites) {
  for (const Header word : {locked(2), locked(2) | kWriting, locked(2) | kAsked, kV | kOneReader, standing(1)}) {
    Borrow borrow;
    step(borrow, kAway, begin_with_copy(Wish::kRead, kV));
    EXPECT_EQ(step(borrow, kAway, looked(word)).outcome, Outcome::kHit) << std::hex << word;
  }
}

TEST(Read, FetchesWhatIsStale) {
  Borrow borrow;
  step(borrow, kAway, begin_with_copy(Wish::kRead, kV));
  const BorrowActions fetch = step(borrow, kAway, looked(kV + kOneVersion));
  EXPECT_TRUE(fetch.read_bytes && fetch.read_after);
  EXPECT_FALSE(fetch.read_before) << "the look at the copy's version was one";
  EXPECT_EQ(step(borrow, kAway, read_between(0, kV + kOneVersion)).outcome, Outcome::kSnapshot);
  EXPECT_EQ(version_of(borrow.word), 6U);
}

BorrowEvent begin_knowing(Header word) {
  return {.kind = BorrowEventKind::kBorrow, .wish = Wish::kRead, .knows = true, .known = word};
}

TEST(Read, NeedsNoFirstLookIfItKnowsTheVersion) {
  for (const Header word : {kV, locked(2), kV | kAsked, kV | kColoured, standing(1)}) {
    Borrow borrow;
    const BorrowActions fetch = step(borrow, kAway, begin_knowing(kV));
    EXPECT_TRUE(fetch.read_bytes && fetch.read_after);
    EXPECT_FALSE(fetch.read_before);
    EXPECT_EQ(step(borrow, kAway, read_between(0, word)).outcome, Outcome::kSnapshot) << std::hex << word;
    EXPECT_EQ(borrow.word, word);
  }
}

TEST(Read, FetchesAgainIfItKnewAnotherVersion) {
  Borrow borrow;
  step(borrow, kAway, begin_knowing(kV));
  const Header later = kV + (kOneVersion << 16);  // of the same colour
  const BorrowActions again = step(borrow, kAway, read_between(0, later));
  EXPECT_TRUE(again.read_bytes && again.read_after && again.outcome == Outcome::kNone);
  EXPECT_FALSE(again.read_before) << "the look behind the bytes was one";
  EXPECT_EQ(step(borrow, kAway, read_between(0, later)).outcome, Outcome::kSnapshot);
}

TEST(Read, DoesNotTrustWhatIsBeingWritten) {
  Borrow borrow;
  step(borrow, kAway, begin_knowing(kV));
  EXPECT_TRUE(step(borrow, kAway, read_between(0, locked(2) | kWriting)).read_before);
  EXPECT_EQ(step(borrow, kAway, read_between(kV, kV)).outcome, Outcome::kSnapshot);
}

TEST(Read, AsksForWhatStandsElsewhereWhateverItKnows) {
  Borrow borrow;
  step(borrow, kAway, begin_knowing(kV));
  EXPECT_TRUE(step(borrow, kAway, read_between(0, standing(2))).ask);
}

TEST(Read, BeginsAgainWhenTornAndThenAsks) {
  Borrow borrow;
  step(borrow, kAway, begin(Wish::kRead));
  const BorrowEvent torn[] = {read_between(kV, kV + kOneVersion), read_between(kV | kWriting, kV),
                              read_between(kV, kV | kWriting)};
  for (const BorrowEvent& event : torn) EXPECT_TRUE(step(borrow, kAway, event).read_bytes);
  const BorrowActions ask = step(borrow, kAway, torn[0]);
  EXPECT_TRUE(ask.ask);
  EXPECT_EQ(ask.turn.wish, Wish::kRead);
  EXPECT_FALSE(ask.turn.in_place);
  const BorrowActions fetch = step(borrow, kAway, granted(kV + kOneReader));
  EXPECT_TRUE(fetch.read_bytes);
  EXPECT_EQ(fetch.add_last, 0 - kOneReader);
  const BorrowActions end = step(borrow, kAway, settled(kV + kOneReader + kAsked));
  EXPECT_TRUE(end.tell_freed);
  EXPECT_EQ(end.outcome, Outcome::kSnapshot);
}

TEST(Read, AsksForWhatStandsElsewhere) {
  Borrow one, two;
  step(one, kAway, begin_with_copy(Wish::kRead, kV));
  EXPECT_TRUE(step(one, kAway, looked(standing(2))).ask);
  step(two, kAway, begin(Wish::kRead));
  EXPECT_TRUE(step(two, kAway, read_between(standing(2), standing(2))).ask);
}

TEST(Read, InPlacePutsInAMarkAndTakesItOut) {
  Borrow borrow;
  EXPECT_TRUE(step(borrow, kHomeLarge, begin(Wish::kRead)).read_before);
  BorrowActions mark = step(borrow, kHomeLarge, looked(locked(2)));
  EXPECT_EQ(mark.desired, locked(2) + kOneReader);
  mark = step(borrow, kHomeLarge, swapped(kV));  // the other has released meanwhile
  EXPECT_EQ(mark.expected, kV);
  EXPECT_EQ(step(borrow, kHomeLarge, swapped(kV)).outcome, Outcome::kMarked);
  EXPECT_EQ(step(borrow, kHomeLarge, release(false)).add_last, 0 - kOneReader);
  EXPECT_EQ(step(borrow, kHomeLarge, settled(kV + kOneReader)).outcome, Outcome::kReleased);
}

TEST(Read, InPlaceWaitsForAWriterAndForThoseWhoAsked) {
  for (const Header word : {locked(2) | kWriting, kV | kAsked, standing(2), kV + kMostReaders * kOneReader}) {
    Borrow borrow;
    step(borrow, kHomeLarge, begin(Wish::kRead));
    const BorrowActions ask = step(borrow, kHomeLarge, looked(word));
    EXPECT_TRUE(ask.ask && ask.turn.in_place) << std::hex << word;
    EXPECT_EQ(step(borrow, kHomeLarge, granted(kV + kOneReader)).outcome, Outcome::kMarked);
  }
}

TEST(Write, WithACurrentCopyIsOneSwap) {
  Borrow borrow;
  const BorrowActions lock = step(borrow, kAway, begin_with_copy(Wish::kWrite, kV));
  EXPECT_EQ(lock.expected, kV);
  EXPECT_EQ(lock.desired, locked(1));
  EXPECT_FALSE(lock.read_bytes || lock.read_before);
  EXPECT_EQ(step(borrow, kAway, swapped(kV)).outcome, Outcome::kLocked);
}

TEST(Write, OfWhatIsStaleReadsBehindTheSwap) {
  Borrow borrow;
  step(borrow, kAway, begin_with_copy(Wish::kWrite, kV));
  const BorrowActions again = step(borrow, kAway, swapped(kV + kOneVersion));
  EXPECT_EQ(again.expected, kV + kOneVersion);
  EXPECT_TRUE(again.read_bytes);
  EXPECT_EQ(step(borrow, kAway, swapped(kV + kOneVersion)).outcome, Outcome::kLocked);
  EXPECT_EQ(version_of(borrow.copy), 6U);
}

TEST(Write, AsksWhenItMayNot) {
  for (const Header word : {locked(2), kV | kAsked, standing(2), kV + kOneReader, locked(1)}) {
    Borrow borrow;
    step(borrow, kAway, begin_with_copy(Wish::kWrite, kV));
    EXPECT_TRUE(step(borrow, kAway, swapped(word)).ask) << std::hex << word;
    EXPECT_EQ(step(borrow, kAway, granted(locked(1))).outcome, Outcome::kLocked);
  }
}

TEST(Write, OfALargeObjectBesideReadersLocksButDoesNotWriteBack) {
  Borrow borrow;
  step(borrow, kAwayLarge, begin_with_copy(Wish::kWrite, kV));
  const BorrowActions lock = step(borrow, kAwayLarge, swapped(kV + kOneReader));
  EXPECT_EQ(lock.desired, locked(1) + kOneReader);
  EXPECT_EQ(step(borrow, kAwayLarge, swapped(kV + kOneReader)).outcome, Outcome::kLocked);
  EXPECT_TRUE(step(borrow, kAwayLarge, release(true)).ask);
  const BorrowActions write = step(borrow, kAwayLarge, granted(locked(1) | kWriting));
  EXPECT_TRUE(write.write_bytes);
  EXPECT_EQ(write.add_first, 0U);
  EXPECT_EQ((locked(1) | kWriting) + write.add_last, kV + kOneVersion);
}

TEST(Write, WhatWasGrantedStaleIsFetched) {
  Borrow borrow;
  step(borrow, kAway, begin_with_copy(Wish::kWrite, kV));
  step(borrow, kAway, swapped(locked(2)));
  const BorrowActions fetch = step(borrow, kAway, granted(locked(1, kV + kOneVersion)));
  EXPECT_TRUE(fetch.read_bytes);
  EXPECT_EQ(fetch.add_last, 0U);
  EXPECT_EQ(step(borrow, kAway, settled(0)).outcome, Outcome::kLocked);
}

// Its pages have been touched raw since, which no version tells.
TEST(Write, WhatWasLostInTheQueueIsFetched) {
  Borrow borrow;
  step(borrow, kAway, begin_with_copy(Wish::kWrite, kV));
  step(borrow, kAway, swapped(locked(2)));
  const BorrowActions fetch = step(borrow, kAway, {.kind = BorrowEventKind::kGranted, .word = locked(1)});
  EXPECT_TRUE(fetch.read_bytes);
  EXPECT_TRUE(borrow.lost);
  EXPECT_EQ(step(borrow, kAway, settled(0)).outcome, Outcome::kLocked);
  Borrow other;
  step(other, kAway, begin_with_copy(Wish::kWrite, kV));
  step(other, kAway, swapped(locked(2)));
  EXPECT_EQ(step(other, kAway, granted(locked(1))).outcome, Outcome::kLocked);
  EXPECT_FALSE(other.lost);
}

TEST(Write, AtTheHomeIsInPlace) {
  Borrow borrow;
  const BorrowActions guess = step(borrow, kHome, begin(Wish::kWrite));
  EXPECT_FALSE(guess.read_bytes);
  EXPECT_EQ(step(borrow, kHome, swapped(kV)).desired, locked(0) | kWriting);
  EXPECT_EQ(step(borrow, kHome, swapped(kV)).outcome, Outcome::kLocked);
  const BorrowActions end = step(borrow, kHome, release(true));
  EXPECT_FALSE(end.write_bytes || end.swap || end.add_first != 0);
  EXPECT_EQ((locked(0) | kWriting) + end.add_last, kV + kOneVersion);
}

TEST(Write, OfScatteredBytesIsNeverInPlace) {
  constexpr ObjectPlace kScattered{.self = 0, .home = 0, .small = false, .scattered = true};
  Borrow borrow;
  step(borrow, kScattered, begin(Wish::kWrite));
  const BorrowActions lock = step(borrow, kScattered, swapped(kV));
  EXPECT_TRUE(lock.read_bytes);
  EXPECT_EQ(lock.desired, locked(0));
}

TEST(Release, OfASmallObjectIsOneChain) {
  Borrow borrow = with_lock(kAway);
  const BorrowActions chain = step(borrow, kAway, release(true));
  EXPECT_EQ(chain.add_first, kWriting);
  EXPECT_TRUE(chain.write_bytes);
  EXPECT_EQ((locked(1) | kWriting) + chain.add_last, kV + kOneVersion);
  const BorrowActions end = step(borrow, kAway, settled(locked(1) | kWriting | kAsked));
  EXPECT_TRUE(end.tell_freed);
  EXPECT_EQ(end.outcome, Outcome::kReleased);
  EXPECT_EQ(at_rest(borrow.word), kV + kOneVersion);
}

TEST(Release, OfALargeObjectMarksFirst) {
  Borrow borrow = with_lock(kAwayLarge);
  const BorrowActions open = step(borrow, kAwayLarge, release(true));
  EXPECT_EQ(open.desired, locked(1) | kWriting);
  EXPECT_FALSE(open.write_bytes);
  EXPECT_EQ(step(borrow, kAwayLarge, swapped(locked(1) | kAsked)).desired, locked(1) | kAsked | kWriting);
  const BorrowActions write = step(borrow, kAwayLarge, swapped(locked(1) | kAsked));
  EXPECT_TRUE(write.write_bytes);
  EXPECT_TRUE(step(borrow, kAwayLarge, settled(locked(1) | kAsked | kWriting)).tell_freed);
}

TEST(Release, UnchangedKeepsTheVersion) {
  for (const ObjectPlace place : {kAway, kAwayLarge}) {
    Borrow borrow = with_lock(place);
    const BorrowActions chain = step(borrow, place, release(false));
    EXPECT_FALSE(chain.write_bytes || chain.swap || chain.add_first != 0);
    EXPECT_EQ(locked(1) + chain.add_last, kV);
  }
}

TEST(Transfer, MakesAStandingOwner) {
  Borrow borrow = with_lock(kAway);
  const BorrowActions chain = step(borrow, kAway, release(true, 2));
  EXPECT_EQ((locked(1) | kWriting) + chain.add_last, standing(2, kV + kOneVersion));
  Borrow large = with_lock(kAwayLarge);  // not beside readers in place
  EXPECT_TRUE(step(large, kAwayLarge, release(false, 2)).swap);
  const BorrowActions end = step(large, kAwayLarge, swapped(locked(1)));
  EXPECT_FALSE(end.write_bytes);
  EXPECT_EQ((locked(1) | kWriting) + end.add_last, standing(2));
}

TEST(Standing, IsAdoptedWithItsBytes) {
  Borrow borrow;
  step(borrow, kAway, begin(Wish::kWrite));
  EXPECT_TRUE(step(borrow, kAway, swapped(standing(1))).read_bytes);
  EXPECT_EQ(step(borrow, kAway, read_between(standing(1), standing(1) | kAsked)).outcome, Outcome::kStanding);
  Borrow late;  // it was called back meanwhile
  step(late, kAway, begin(Wish::kWrite));
  step(late, kAway, swapped(standing(1)));
  EXPECT_EQ(step(late, kAway, read_between(standing(1), kV + kOneVersion)).expected, kV + kOneVersion);
}

TEST(Standing, GoesHomeWithItsBytes) {
  Borrow borrow;
  const BorrowEvent back{.kind = BorrowEventKind::kGiveBack, .have = true, .changed = true, .copy = kV};
  // The version is raised first: what the owner has changed it changed before.
  EXPECT_EQ(step(borrow, kAway, back).desired, locked(1, kV + kOneVersion) | kWriting);
  EXPECT_EQ(step(borrow, kAway, swapped(standing(1) | kAsked)).desired,
            locked(1, kV + kOneVersion) | kWriting | kAsked);
  const BorrowActions write = step(borrow, kAway, swapped(standing(1) | kAsked));
  EXPECT_TRUE(write.write_bytes);
  const Header opened = locked(1, kV + kOneVersion) | kWriting;
  EXPECT_EQ(opened + write.add_last, kV + kOneVersion);
  EXPECT_EQ(step(borrow, kAway, settled(opened | kAsked)).outcome, Outcome::kReleased);
}

TEST(Standing, GoesHomeCleanBySwapOnly) {
  Borrow borrow;
  const BorrowEvent back{.kind = BorrowEventKind::kGiveBack};
  step(borrow, kAway, back);  // without a copy it does not know the version
  EXPECT_EQ(step(borrow, kAway, swapped(standing(1) | kAsked)).desired, kV | kAsked);
  const BorrowActions end = step(borrow, kAway, swapped(standing(1) | kAsked));
  EXPECT_TRUE(end.tell_freed);
  EXPECT_EQ(end.outcome, Outcome::kReleased);
}

// A thread works with it: what others may see goes home, and the object stays locked for it.
TEST(Standing, GoesHomeAndIsKept) {
  Borrow borrow;
  BorrowEvent back{.kind = BorrowEventKind::kGiveBack, .have = true, .changed = true, .keep = true, .copy = kV};
  step(borrow, kAway, back);
  const BorrowActions write = step(borrow, kAway, swapped(standing(1)));
  const Header opened = locked(1, kV + kOneVersion) | kWriting;
  EXPECT_TRUE(write.write_bytes);
  EXPECT_EQ(opened + write.add_last, locked(1, kV + kOneVersion));
  EXPECT_EQ(step(borrow, kAway, settled(opened | kAsked)).outcome, Outcome::kReleased);
  EXPECT_EQ(borrow.word, locked(1, kV + kOneVersion) | kAsked);
  Borrow clean;
  back.changed = false;
  EXPECT_EQ(step(clean, kAway, back).desired, locked(1));
  EXPECT_EQ(step(clean, kAway, swapped(standing(1))).outcome, Outcome::kReleased);
  EXPECT_EQ(clean.word, locked(1));
}

TEST(Standing, OfABlockThatWasFreedIsDropped) {
  for (const bool changed : {true, false}) {
    Borrow borrow;
    const BorrowEvent back{.kind = BorrowEventKind::kGiveBack, .have = true, .changed = changed, .copy = kV};
    step(borrow, kAway, back);
    EXPECT_EQ(step(borrow, kAway, swapped(end_of_life(standing(1), true).word)).outcome, Outcome::kDropped);
  }
}

}  // namespace
}  // namespace dsm::proto
