// How a page is gained, transition by transition.
#include <gtest/gtest.h>

#include "tests/unit/proto_rig.h"

namespace dsm::proto {
namespace {

constexpr Access kRead = Access::kRead;
constexpr Access kWrite = Access::kWrite;

// --- the page is free or shared: one chain, one round trip ----------------------------------------------------------

TEST(PageGain, ReadMissOfAFreePageIsOneChain) {
  run(Page{}, kAway,
      {{fault(kRead), "swap free -> shared {1}, read page", "claiming, no access, seen free, wants read"},
       {done(kFreeWord), "map read, wake", "idle, read access, seen shared {1}, fresh"}});
}

TEST(PageGain, WriteMissOfAFreePageIsOneChain) {
  run(Page{}, kAway,
      {{fault(kWrite), "swap free -> exclusive 1, read page", "claiming, no access, seen free, wants write"},
       {done(kFreeWord), "map write, wake", "idle, write access, seen exclusive 1, fresh"}});
}

TEST(PageGain, ReadMissBesideReadersTakesASecondChain) {
  const Word others = shared_word(nodes(2, 3));
  run(Page{}, kAway,
      {{fault(kRead), "swap free -> shared {1}, read page", "claiming, no access, seen free, wants read"},
       {done(others), "swap shared {2,3} -> shared {1,2,3}, read page",
        "claiming, no access, seen shared {2,3}, wants read"},
       {done(others), "map read, wake", "idle, read access, seen shared {1,2,3}, fresh"}});
}

TEST(PageGain, LastSeenWordIsTheFirstGuess) {
  const Page page{.seen = shared_word(nodes(1, 2))};  // we have dropped it since
  run(page, kAway,
      {{fault(kRead), "swap shared {2} -> shared {1,2}, read page", "claiming, no access, seen shared {2}, wants read"},
       {done(shared_word(nodes(2))), "map read, wake", "idle, read access, seen shared {1,2}, fresh"}});
}

TEST(PageGain, WriteMissBesideReadersWaitsForThemToDrop) {
  const Word others = shared_word(nodes(2, 3));
  run(Page{}, kAway,
      {{fault(kWrite), "swap free -> exclusive 1, read page", "claiming, no access, seen free, wants write"},
       {done(others), "swap shared {2,3} -> exclusive 1 {2,3}, read page",
        "claiming, no access, seen shared {2,3}, wants write"},
       {done(others), "drop to {2,3}", "waiting, no access, seen exclusive 1 {2,3}, wants write, fetched"},
       {look(3), "read latch", "looking, no access, seen exclusive 1 {2,3}, wants write, fetched"},
       {looked(owned(1)), "map write, wake", "idle, write access, seen exclusive 1, fresh"}});
}

// --- no bytes move where they are already ---------------------------------------------------------------------------

TEST(PageGain, HomeTouchesItsOwnPageInPlace) {
  run(Page{}, kHome,
      {{fault(kRead), "swap free -> shared {0}", "claiming, no access, seen free, wants read"},
       {done(owned(0)), "map read, wake", "idle, read access, seen exclusive 0, fresh"}});
}

TEST(PageGain, LatchOnlyPageHasNoBytesToRead) {
  run(Page{}, kLatchOnly,
      {{fault(kWrite), "swap free -> exclusive 1", "claiming, no access, seen free, wants write"},
       {done(kFreeWord), "map write, wake", "idle, write access, seen exclusive 1, fresh"},
       {nudge(2, kWrite), "await use", "idle, write access, seen exclusive 1, fresh, look asked"},
       {used(), "read latch", "looking, write access, seen exclusive 1"},
       {looked(owned(1), nodes(2)), "unmap, waiters - {2}, swap exclusive 1 -> exclusive 2, read latch",
        "yielding, no access, seen exclusive 2"}});
}

TEST(PageGain, FreshPageIsOwnedWithoutItsBytes) {
  run(Page{}, kAway,
      {{{.kind = EventKind::kFresh},
        "swap free -> exclusive 1",
        "claiming, no access, seen free, wants softly write, fetched"},
       {done(kFreeWord), "map write, wake", "idle, write access, seen exclusive 1"}});
}

// What others read is not thrown away, and what we lack is not taken for ours.
TEST(PageGain, FreshPageThatOthersHaveIsLeftToThem) {
  run(Page{}, kAway,
      {{{.kind = EventKind::kFresh},
        "swap free -> exclusive 1",
        "claiming, no access, seen free, wants softly write, fetched"},
       {done(shared_word(nodes(2))), "nothing", "idle, no access, seen shared {2}"}});
}

TEST(PageGain, FreshPageThatIsReadHereIsRaised) {
  run(reader(shared_word(nodes(1))), kAway,
      {{{.kind = EventKind::kFresh},
        "swap shared {1} -> exclusive 1",
        "claiming, read access, seen shared {1}, wants softly write"},
       {done(shared_word(nodes(1))), "raise, wake", "idle, write access, seen exclusive 1"}});
}

// --- upgrades -------------------------------------------------------------------------------------------------------

TEST(PageGain, UpgradeAlone) {
  run(reader(shared_word(nodes(1))), kAway,
      {{fault(kWrite), "swap shared {1} -> exclusive 1", "claiming, read access, seen shared {1}, wants write"},
       {done(shared_word(nodes(1))), "raise, wake", "idle, write access, seen exclusive 1, fresh"}});
}

TEST(PageGain, UpgradeBesideThreeSharers) {
  const Word word = shared_word(nodes(1, 2, 3, 4));
  run(reader(word), kAway,
      {{fault(kWrite), "swap shared {1,2,3,4} -> exclusive 1 {2,3,4}",
        "claiming, read access, seen shared {1,2,3,4}, wants write"},
       {done(word), "drop to {2,3,4}", "waiting, read access, seen exclusive 1 {2,3,4}, wants write, fetched"},
       {look(4), "read latch", "looking, read access, seen exclusive 1 {2,3,4}, wants write, fetched"},
       {looked(owned(1)), "raise, wake", "idle, write access, seen exclusive 1, fresh"}});
}

TEST(PageGain, UpgradeLostToAnotherDropsAndWaits) {
  run(reader(shared_word(nodes(1, 2))), kAway,
      {{fault(kWrite), "swap shared {1,2} -> exclusive 1 {2}", "claiming, read access, seen shared {1,2}, wants write"},
       {done(owned(2, nodes(1))), "unmap, swap exclusive 2 {1} -> exclusive 2",
        "dropping, no access, seen exclusive 2 {1}, wants write"},
       {done(owned(2, nodes(1))), "waiters + {1}, read latch, look to {2}",
        "enlisting, no access, seen exclusive 2, wants write"},
       {looked(owned(2), nodes(1)), "nudge to {2}", "waiting, no access, seen exclusive 2, wants write, enlisted"}});
}

// A writer has claimed the page and we have not dropped it: the word is known not to be free.
TEST(PageGain, UpgradeOfAPageThatIsDueLooksFirst) {
  run(reader(owned(2, nodes(1))), kAway,
      {{fault(kWrite), "read latch", "looking, read access, seen exclusive 2 {1}, wants write"},
       {looked(owned(2, nodes(1))), "unmap, swap exclusive 2 {1} -> exclusive 2",
        "dropping, no access, seen exclusive 2 {1}, wants write"}});
}

// --- the page is another node's -------------------------------------------------------------------------------------

TEST(PageGain, ReadOfAPageOwnedElsewhere) {
  run(Page{}, kAway,
      {{fault(kRead), "swap free -> shared {1}, read page", "claiming, no access, seen free, wants read"},
       {done(owned(2)), "waiters + {1}, read latch", "enlisting, no access, seen exclusive 2, wants read"},
       {looked(owned(2), nodes(1)), "nudge to {2}", "waiting, no access, seen exclusive 2, wants read, enlisted"},
       {look(2), "read latch, read page", "looking, no access, seen exclusive 2, wants read, enlisted"},
       {looked(shared_word(nodes(1, 2))), "map read, wake", "idle, read access, seen shared {1,2}, fresh"}});
}

TEST(PageGain, NudgeSaysWhatIsWanted) {
  for (const Access access : {kRead, kWrite}) {
    Page page{.want = access, .phase = Phase::kEnlisting};
    const Actions actions = step(page, kAway, looked(owned(2), nodes(1)));
    EXPECT_EQ(actions.send_kind, MessageKind::kNudge);
    EXPECT_EQ(actions.send_want, access);
  }
}

TEST(PageGain, OwnerThatLetGoWhileWeEnlistedLeavesThePageToUs) {
  const Page page{.want = kWrite, .phase = Phase::kEnlisting, .seen = owned(2)};
  run(page, kAway,
      {{looked(kFreeWord, nodes(1)), "swap free -> exclusive 1, read page",
        "claiming, no access, seen free, wants write, enlisted"},
       {done(kFreeWord), "waiters - {1}, (forget), map write, wake", "idle, write access, seen exclusive 1, fresh"}});
}

TEST(PageGain, WaiterWithCompanyIsAskedForThePageAtOnce) {
  const Page page{.want = kWrite, .phase = Phase::kWaiting, .enlisted = true, .seen = owned(2)};
  run(page, kAway,
      {{look(2), "read latch, read page", "looking, no access, seen exclusive 2, wants write, enlisted"},
       {looked(owned(1), nodes(3)), "map write, wake, await use",
        "idle, write access, seen exclusive 1, fresh, look asked"}});
}

TEST(PageGain, ReaderThatAWriterFollowsIsAskedToDropAtOnce) {
  const Page page{.want = kRead, .phase = Phase::kWaiting, .enlisted = true, .seen = owned(2)};
  run(page, kAway,
      {{look(2), "read latch, read page", "looking, no access, seen exclusive 2, wants read, enlisted"},
       {looked(owned(3, nodes(1))), "map read, wake, await use",
        "idle, read access, seen exclusive 3 {1}, fresh, look asked"},
       {used(), "read latch", "looking, read access, seen exclusive 3 {1}"},
       {looked(owned(3, nodes(1))), "unmap, swap exclusive 3 {1} -> exclusive 3",
        "dropping, no access, seen exclusive 3 {1}"},
       {done(owned(3, nodes(1))), "look to {3}", "idle, no access, seen exclusive 3"}});
}

// Whoever serves us clears our bit in front of the swap; a look in between finds it cleared, and we enlist again.
TEST(PageGain, NodeServedWhileItEnlistsAgainTakesItsBitAway) {
  const Page page{.want = kWrite, .phase = Phase::kLooking, .enlisted = true, .reading = true, .seen = owned(2)};
  run(page, kAway,
      {{looked(owned(2)), "waiters + {1}, read latch", "enlisting, no access, seen exclusive 2, wants write"},
       {looked(owned(1), nodes(1)), "waiters - {1}, read latch, read page",
        "looking, no access, seen exclusive 1, wants write"},
       {looked(owned(1)), "map write, wake", "idle, write access, seen exclusive 1, fresh"}});
}

TEST(PageGain, ClaimThatFindsThePageOursLooksForItsWaitersBit) {
  const Page page{.want = kWrite, .asked = kWrite, .phase = Phase::kClaiming, .enlisted = true, .seen = kFreeWord};
  run(page, kAway,
      {{done(owned(1)), "read latch, read page", "looking, no access, seen free, wants write, enlisted"},
       {looked(owned(1)), "map write, wake", "idle, write access, seen exclusive 1, fresh"}});
}

// --- faults that meet one another -----------------------------------------------------------------------------------

TEST(PageGain, FaultWithEnoughAccessWakesAtOnce) {
  run(writer(), kAway, {{fault(kRead), "wake", "idle, write access, seen exclusive 1"}});
  run(writer(), kAway, {{fault(kWrite), "wake", "idle, write access, seen exclusive 1"}});
}

TEST(PageGain, FaultWhileAClaimIsInFlightIsNotLost) {
  run(Page{}, kAway,
      {{fault(kRead), "swap free -> shared {1}, read page", "claiming, no access, seen free, wants read"},
       {fault(kWrite), "nothing", "claiming, no access, seen free, wants write"},
       {done(kFreeWord), "map read, wake", "idle, read access, seen shared {1}, fresh"},
       {fault(kWrite), "swap shared {1} -> exclusive 1",
        "claiming, read access, seen shared {1}, wants write, fresh"}});
}

// --- taken for a writer, wants to read ------------------------------------------------------------------------------

TEST(PageGain, OwnerToBeThatReadsJoinsTheReadersAndPassesItsTurnOn) {
  Page page{.want = kRead, .phase = Phase::kWaiting, .enlisted = true, .seen = owned(2)};
  page.readers = nodes(4);
  run(page, kAway,
      {{look(2), "read latch, read page", "looking, no access, seen exclusive 2, wants read, enlisted, readers {4}"},
       {looked(owned(1, nodes(3)), nodes(4, 5)), "swap exclusive 1 {3} -> exclusive 5 {1,3,4}, read latch",
        "claiming, no access, seen exclusive 1 {3}, wants read, fetched, readers {4}"},
       {done(owned(1, nodes(3)), {owned(5, nodes(1, 3, 4)), nodes(4, 5)}), "map read, look to {3,4,5}, wake, await use",
        "idle, read access, seen exclusive 5 {1,3,4}, fresh, look asked"}});
}

TEST(PageGain, OwnerToBeThatReadsSharesThePageIfNobodyWrites) {
  const Page page{.want = kRead, .phase = Phase::kLooking, .fetched = true, .seen = owned(1, nodes(3))};
  run(page, kAway,
      {{looked(owned(1, nodes(3))), "swap exclusive 1 {3} -> shared {1,3}, read latch",
        "claiming, no access, seen exclusive 1 {3}, wants read, fetched"},
       {done(owned(1, nodes(3)), {shared_word(nodes(1, 3)), 0}), "map read, look to {3}, wake",
        "idle, read access, seen shared {1,3}, fresh"}});
}

// A member of the set still has its waiters bit: it has been served, and is not the next writer.
TEST(PageGain, MembersOfTheSetAreNotServedTwice) {
  Page page{.want = kRead, .phase = Phase::kLooking, .fetched = true, .seen = owned(1, nodes(3))};
  const Actions actions = step(page, kAway, looked(owned(1, nodes(3)), nodes(3)));
  EXPECT_EQ(actions.desired, shared_word(nodes(1, 3)));
}

// --- prefetch -------------------------------------------------------------------------------------------------------

TEST(PagePrefetch, FreePageIsTakenAndNotHeld) {
  run(Page{}, kAway,
      {{prefetch(kWrite), "swap free -> exclusive 1, read page", "claiming, no access, seen free, wants softly write"},
       {done(kFreeWord), "map write, wake", "idle, write access, seen exclusive 1"},
       {nudge(2, kRead), "read latch", "looking, write access, seen exclusive 1, readers {2}"}});
}

TEST(PagePrefetch, WriteGivesWayToReaders) {
  run(Page{}, kAway,
      {{prefetch(kWrite), "swap free -> exclusive 1, read page", "claiming, no access, seen free, wants softly write"},
       {done(shared_word(nodes(2))), "nothing", "idle, no access, seen shared {2}"}});
}

TEST(PagePrefetch, ReadJoinsReaders) {
  run(Page{}, kAway,
      {{prefetch(kRead), "swap free -> shared {1}, read page", "claiming, no access, seen free, wants softly read"},
       {done(shared_word(nodes(2))), "swap shared {2} -> shared {1,2}, read page",
        "claiming, no access, seen shared {2}, wants softly read"},
       {done(shared_word(nodes(2))), "map read, wake", "idle, read access, seen shared {1,2}"}});
}

TEST(PagePrefetch, FaultMakesItHard) {
  run(Page{}, kAway,
      {{prefetch(kRead), "swap free -> shared {1}, read page", "claiming, no access, seen free, wants softly read"},
       {fault(kRead), "nothing", "claiming, no access, seen free, wants read"},
       {done(owned(2)), "waiters + {1}, read latch", "enlisting, no access, seen exclusive 2, wants read"}});
}

TEST(PageAhead, OthersGiveWayAndAreOwedNothing) {
  run(Page{}, kAway,
      {{ahead(kRead), "swap free -> shared {1}, read page", "claiming, no access, seen free, wants ahead read"},
       {done(owned(2)), "waiters + {1}, read latch", "enlisting, no access, seen exclusive 2, wants ahead read"},
       {looked(owned(2), nodes(1)), "nudge to {2}",
        "waiting, no access, seen exclusive 2, wants ahead read, enlisted"},
       {look(2), "read latch, read page", "looking, no access, seen exclusive 2, wants ahead read, enlisted"},
       {looked(shared_word(nodes(1, 2))), "map read, wake", "idle, read access, seen shared {1,2}"},
       {drop(3), "read latch", "looking, read access, seen shared {1,2}"}});
}

TEST(PageAhead, ReadersLeaveAWriter) {
  const Page reader{.access = kRead, .joined = true, .seen = shared_word(nodes(1, 2))};
  run(reader, kAway,
      {{ahead(kWrite), "swap shared {1,2} -> exclusive 1 {2}",
        "claiming, read access, seen shared {1,2}, wants ahead write"},
       {done(shared_word(nodes(1, 2))), "drop to {2}",
        "waiting, read access, seen exclusive 1 {2}, wants ahead write, fetched, migratory"}});
}

TEST(PageAhead, ObjectWorkIsNotDisturbed) {
  run(Page{}, kAway,
      {{ahead(kWrite), "swap free -> exclusive 1, read page", "claiming, no access, seen free, wants ahead write"},
       {done(object_word(nodes(2))), "nothing", "idle, no access, seen object {2}"}});
}

TEST(PageAhead, WhoIsEnlistedGoesOn) {
  const Page waiting{.want = kRead, .phase = Phase::kWaiting, .enlisted = true, .ahead = true, .seen = owned(2)};
  Page asked = waiting;
  EXPECT_TRUE(step(asked, kAway, look(2)).read_latch);
  Page looking{.want = kRead, .phase = Phase::kLooking, .enlisted = true, .ahead = true, .seen = owned(2)};
  EXPECT_TRUE(step(looking, kAway, looked(object_word(nodes(2)), nodes(1))).swap);
}

TEST(PageAhead, WhatIsOursAndCleanIsNotAskedFor) {
  const Page clean{.access = kRead, .seen = owned(1)};
  run(clean, kAway, {{ahead(kWrite), "nothing", "idle, read access, seen exclusive 1"}});
}

TEST(PagePrefetch, RaisingAPageDoesNotCancelWhatIsOwed) {
  run(Page{}, kAway,
      {{fault(kRead), "swap free -> shared {1}, read page", "claiming, no access, seen free, wants read"},
       {done(kFreeWord), "map read, wake", "idle, read access, seen shared {1}, fresh"},
       {prefetch(kWrite), "swap shared {1} -> exclusive 1",
        "claiming, read access, seen shared {1}, wants softly write, fresh"},
       {done(shared_word(nodes(1))), "raise, wake", "idle, write access, seen exclusive 1, fresh"}});
}

TEST(PagePrefetch, IsIgnoredWhileThePageIsBusyOrEnough) {
  run(writer(), kAway, {{prefetch(kWrite), "nothing", "idle, write access, seen exclusive 1"}});
  const Page waiting{.want = kWrite, .phase = Phase::kWaiting, .enlisted = true, .seen = owned(2)};
  run(waiting, kAway, {{prefetch(kRead), "nothing", "waiting, no access, seen exclusive 2, wants write, enlisted"}});
}

// Whatever word it meets, of all words of four nodes that are not ours: no waiters bit, no message.
TEST(PagePrefetch, NeverEnlistsAndNeverDisturbs) {
  std::vector<Word> words;
  for (NodeSet set = 0; set < 16; ++set) {
    words.push_back(shared_word(set & ~nodes(1)));
    for (const NodeId owner : {NodeId{0}, NodeId{2}, NodeId{3}})
      words.push_back(owned(owner, set & ~nodes(1) & ~node_bit(owner)));
  }
  for (const Access access : {kRead, kWrite}) {
    for (const Word word : words) {
      Page page;
      Actions actions = step(page, kAway, prefetch(access));
      for (int chains = 0; actions.expects_done; ++chains) {
        ASSERT_LT(chains, 4);
        EXPECT_EQ(actions.waiters_add, 0u);
        EXPECT_EQ(actions.send_to, 0u);
        actions = step(page, kAway, done(word, {word, 0}));
      }
      EXPECT_EQ(actions.send_to, 0u) << sim::word_text(word, 0);
      EXPECT_EQ(page.phase, Phase::kIdle) << sim::word_text(word, 0);
    }
  }
}

}  // namespace
}  // namespace dsm::proto
