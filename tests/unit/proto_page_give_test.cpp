// How a page is given up, and what messages do, transition by transition.
#include <gtest/gtest.h>

#include "tests/unit/proto_rig.h"

namespace dsm::proto {
namespace {

constexpr Access kRead = Access::kRead;
constexpr Access kWrite = Access::kWrite;

// --- to those who wait ----------------------------------------------------------------------------------------------

TEST(PageGive, OwnerLetsAReaderIn) {
  run(writer(), kAway,
      {{nudge(2, kRead), "read latch", "looking, write access, seen exclusive 1, readers {2}"},
       {looked(owned(1), nodes(2)), "lower, write page, waiters - {2}, swap exclusive 1 -> shared {1,2}, read latch",
        "yielding, read access, seen shared {1,2}"},
       {done(owned(1), {shared_word(nodes(1, 2)), 0}), "look to {2}", "idle, read access, seen shared {1,2}"}});
}

TEST(PageGive, OwnerMakesWayForAWriter) {
  run(writer(), kAway,
      {{nudge(2, kWrite), "read latch", "looking, write access, seen exclusive 1"},
       {looked(owned(1), nodes(2)), "unmap, write page, waiters - {2}, swap exclusive 1 -> exclusive 2, read latch",
        "yielding, no access, seen exclusive 2"},
       {done(owned(1), {owned(2), 0}), "look to {2}", "idle, no access, seen exclusive 2"}});
}

TEST(PageGive, HomeWritesNothingBack) {
  run(writer(kHome), kHome,
      {{nudge(2, kWrite), "read latch", "looking, write access, seen exclusive 0"},
       {looked(owned(0), nodes(2)), "unmap, waiters - {2}, swap exclusive 0 -> exclusive 2, read latch",
        "yielding, no access, seen exclusive 2"}});
}

TEST(PageGive, HomeThatNeverTouchedThePageHandsItOver) {
  run(Page{}, kHome,
      {{nudge(2, kWrite), "read latch", "looking, no access, seen exclusive 0"},
       {looked(0, nodes(2)), "waiters - {2}, swap exclusive 0 -> exclusive 2, read latch",
        "yielding, no access, seen exclusive 2"},
       {done(0, {owned(2), 0}), "look to {2}", "idle, no access, seen exclusive 2"}});
}

// Node 2 read the page and wrote it, and so did node 1 after it: node 3, who wants to read, gets it whole.
TEST(PageGive, MigratoryPageGoesWholeToItsNextReader) {
  Page page = reader(shared_word(nodes(1, 2)));
  page.joined = true;
  run(page, kAway,
      {{fault(kWrite), "swap shared {1,2} -> exclusive 1 {2}", "claiming, read access, seen shared {1,2}, wants write"},
       {done(shared_word(nodes(1, 2))), "drop to {2}",
        "waiting, read access, seen exclusive 1 {2}, wants write, fetched, migratory"},
       {look(2), "read latch", "looking, read access, seen exclusive 1 {2}, wants write, fetched, migratory"},
       {looked(owned(1)), "raise, wake", "idle, write access, seen exclusive 1, fresh, migratory"},
       {used(), "nothing", "idle, write access, seen exclusive 1, migratory"},
       {nudge(3, kRead), "read latch", "looking, write access, seen exclusive 1, migratory, readers {3}"},
       {looked(owned(1), nodes(3)), "unmap, write page, waiters - {3}, swap exclusive 1 -> exclusive 3, read latch",
        "yielding, no access, seen exclusive 3, migratory"}});
}

// Who has it so may only read it at first: the write shows that the page is migratory still, and costs no message.
TEST(PageGive, ReaderWhoGotThePageWholeShowsWhetherItWrites) {
  Page page{.want = kRead, .phase = Phase::kWaiting, .enlisted = true, .seen = owned(2)};
  page = run(page, kAway,
             {{look(2), "read latch, read page", "looking, no access, seen exclusive 2, wants read, enlisted"},
              {looked(owned(1)), "map read, wake", "idle, read access, seen exclusive 1, fresh"}});
  run(page, kAway, {{fault(kWrite), "raise, wake", "idle, write access, seen exclusive 1, fresh, migratory"}});
  run(page, kAway,
      {{used(), "nothing", "idle, read access, seen exclusive 1"},
       {nudge(2, kRead), "read latch", "looking, read access, seen exclusive 1, readers {2}"},
       {looked(owned(1), nodes(2)), "waiters - {2}, swap exclusive 1 -> shared {1,2}, read latch",
        "yielding, read access, seen shared {1,2}"}});
}

TEST(PageGive, PageIsHeldUntilItHasBeenUsed) {
  Page page = writer();
  page.fresh = true;
  run(page, kAway,
      {{nudge(2, kWrite), "await use", "idle, write access, seen exclusive 1, fresh, look asked"},
       {nudge(3, kWrite), "await use", "idle, write access, seen exclusive 1, fresh, look asked"},
       {used(), "read latch", "looking, write access, seen exclusive 1"}});
}

struct Waiting {
  NodeSet waiters;
  NodeSet readers;  // of them, those who are known to want no more than to read
  Word next;
  NodeSet told;
};

// Node 1 hands over: to the next in cyclic order; if that is a reader, all known readers come in and the next writer is
// put behind them.
TEST(PageGive, HandOverToMixedWaiters) {
  const std::vector<Waiting> table = {
      {nodes(2), 0, owned(2), nodes(2)},
      {nodes(0), 0, owned(0), nodes(0)},
      {nodes(0, 2, 3), 0, owned(2), nodes(2)},
      {nodes(0, 3), 0, owned(3), nodes(3)},
      {nodes(2), nodes(2), shared_word(nodes(1, 2)), nodes(2)},
      {nodes(0, 2, 3), nodes(0, 2, 3), shared_word(nodes(0, 1, 2, 3)), nodes(0, 2, 3)},
      {nodes(2, 3, 4), nodes(2, 4), owned(3, nodes(2, 4)), nodes(2, 3, 4)},
      {nodes(2, 3, 4), nodes(3, 4), owned(2), nodes(2)},
      {nodes(0, 2, 3), nodes(2), owned(3, nodes(2)), nodes(2, 3)},
      {nodes(0, 2), nodes(2), owned(0, nodes(2)), nodes(0, 2)},
      {nodes(0, 2), nodes(0), owned(2), nodes(2)},
      {nodes(2), nodes(2, 5), shared_word(nodes(1, 2)), nodes(2)},  // 5 does not wait
  };
  for (const Waiting& row : table) {
    Page page = writer();
    page.phase = Phase::kLooking;
    page.readers = row.readers;
    const Actions yield = step(page, kAway, looked(owned(1), row.waiters));
    const std::string what = sim::set_text(row.waiters) + " readers " + sim::set_text(row.readers);
    EXPECT_EQ(sim::word_text(yield.desired, 0), sim::word_text(row.next, 0)) << what;
    EXPECT_EQ(yield.expected, owned(1)) << what;
    EXPECT_EQ(~yield.waiters_add + 1, row.told) << what << ": the bits of those who are served, and no others";
    EXPECT_EQ(yield.lower, contains(set_of(row.next), 1)) << what;
    EXPECT_EQ(yield.unmap, !contains(set_of(row.next), 1)) << what;
    const Actions tell = step(page, kAway, done(owned(1), {row.next, row.waiters & ~row.told}));
    EXPECT_EQ(tell.send_kind, MessageKind::kLook) << what;
    EXPECT_EQ(tell.send_to, row.told) << what;
  }
}

TEST(PageGive, WhatIsKnownOfTheOtherWaitersGoesAlong) {
  Page page = writer();
  page.phase = Phase::kLooking;
  page.readers = nodes(4);
  step(page, kAway, looked(owned(1), nodes(2, 4)));
  const Actions tell = step(page, kAway, done(owned(1), {owned(2), nodes(4)}));
  EXPECT_EQ(tell.send_to, nodes(2));
  EXPECT_EQ(tell.send_readers, nodes(4));
  EXPECT_EQ(page.readers, 0u);
}

// Who began to wait after we had looked relies on us: the page is shared now, and nobody else would tell.
TEST(PageGive, LateWaitersOfASharedPageAreTold) {
  Page page = writer();
  page.phase = Phase::kLooking;
  page.readers = nodes(2);
  step(page, kAway, looked(owned(1), nodes(2)));
  const Actions tell = step(page, kAway, done(owned(1), {shared_word(nodes(1, 2)), nodes(3)}));
  EXPECT_EQ(tell.send_to, nodes(2, 3));
}

TEST(PageGive, YielderThatWantsThePageAgainEnlists) {
  run(writer(), kAway,
      {{nudge(2, kWrite), "read latch", "looking, write access, seen exclusive 1"},
       {looked(owned(1), nodes(2)), "unmap, write page, waiters - {2}, swap exclusive 1 -> exclusive 2, read latch",
        "yielding, no access, seen exclusive 2"},
       {fault(kRead), "nothing", "yielding, no access, seen exclusive 2, wants read"},
       {done(owned(1), {owned(2), 0}), "waiters + {1}, read latch, look to {2}",
        "enlisting, no access, seen exclusive 2, wants read"}});
}

// --- to a writer that has claimed it --------------------------------------------------------------------------------

TEST(PageGive, LastReaderToDropTellsTheOwner) {
  run(reader(shared_word(nodes(1))), kAway,
      {{drop(2), "read latch", "looking, read access, seen shared {1}"},
       {looked(owned(2, nodes(1))), "unmap, swap exclusive 2 {1} -> exclusive 2",
        "dropping, no access, seen exclusive 2 {1}"},
       {done(owned(2, nodes(1))), "look to {2}", "idle, no access, seen exclusive 2"}});
}

TEST(PageGive, OthersThatStillReadWillTellIt) {
  run(reader(shared_word(nodes(1, 3))), kAway,
      {{drop(2), "read latch", "looking, read access, seen shared {1,3}"},
       {looked(owned(2, nodes(1, 3))), "unmap, swap exclusive 2 {1,3} -> exclusive 2 {3}",
        "dropping, no access, seen exclusive 2 {1,3}"},
       {done(owned(2, nodes(1, 3))), "nothing", "idle, no access, seen exclusive 2 {3}"}});
}

TEST(PageGive, DropIsRepeatedWhileOthersChangeTheWord) {
  const Page page{.phase = Phase::kDropping, .seen = owned(2, nodes(1, 3))};
  run(page, kAway,
      {{done(owned(2, nodes(1))), "swap exclusive 2 {1} -> exclusive 2", "dropping, no access, seen exclusive 2 {1}"},
       {done(owned(2, nodes(1))), "look to {2}", "idle, no access, seen exclusive 2"}});
}

// --- because the program asks ---------------------------------------------------------------------------------------

TEST(PageGive, ReleaseOfAWrittenPageFreesIt) {
  run(writer(), kAway,
      {{release(), "unmap, write page, swap exclusive 1 -> free, read latch", "yielding, no access, seen free"},
       {done(owned(1), {kFreeWord, 0}), "nothing", "idle, no access, seen free"}});
}

TEST(PageGive, ReleaseTellsAllWhoWait) {
  run(writer(), kAway,
      {{release(), "unmap, write page, swap exclusive 1 -> free, read latch", "yielding, no access, seen free"},
       {done(owned(1), {kFreeWord, nodes(2, 3)}), "look to {2,3}", "idle, no access, seen free"}});
}

TEST(PageGive, ReleaseOfAReadPageDropsIt) {
  run(reader(shared_word(nodes(1, 2))), kAway,
      {{release(), "unmap, swap shared {1,2} -> shared {2}", "dropping, no access, seen shared {1,2}"},
       {done(shared_word(nodes(1, 2))), "nothing", "idle, no access, seen shared {2}"}});
}

TEST(PageGive, ReleaseOfNothingOrOfABusyPageDoesNothing) {
  run(Page{}, kAway, {{release(), "nothing", "idle, no access, seen exclusive 0"}});
  Page page = writer();
  page.phase = Phase::kLooking;
  run(page, kAway, {{release(), "nothing", "looking, write access, seen exclusive 1"}});
}

TEST(PageGive, TransferMakesTheOtherNodeTheOwner) {
  run(writer(), kAway,
      {{transfer(3), "unmap, write page, swap exclusive 1 -> exclusive 3, read latch",
        "yielding, no access, seen exclusive 3"},
       {done(owned(1), {owned(3), 0}), "look to {3}", "idle, no access, seen exclusive 3"}});
  const Page receiver{.seen = 0};
  const Place place{.self = 3, .home = 0, .has_bytes = true};
  run(receiver, place,
      {{look(1), "read latch", "looking, no access, seen exclusive 0"},
       {looked(owned(3)), "nothing", "idle, no access, seen exclusive 3"},
       {fault(kWrite), "read latch, read page", "looking, no access, seen exclusive 3, wants write"},
       {looked(owned(3)), "map write, wake", "idle, write access, seen exclusive 3, fresh"}});
}

TEST(PageGive, TransferOfAReadPageDropsIt) {
  run(reader(shared_word(nodes(1))), kAway,
      {{transfer(3), "unmap, swap shared {1} -> free", "dropping, no access, seen shared {1}"}});
}

TEST(PageGive, KeepReadingLetsReadersInBesideUs) {
  Page page = writer();
  page.fresh = page.look_asked = true;
  run(page, kAway,
      {{keep_reading(), "lower, write page, swap exclusive 1 -> shared {1}, read latch",
        "yielding, read access, seen shared {1}, fresh"},
       {done(owned(1), {shared_word(nodes(1)), nodes(2)}), "look to {2}",
        "idle, read access, seen shared {1}, fresh"}});
}

TEST(PageGive, ACleanPageGoesWithoutItsBytes) {
  run(writer(), kAway,
      {{clean(), "lower, write page, (forget)", "idle, read access, seen exclusive 1"},
       {clean(), "nothing", "idle, read access, seen exclusive 1"},
       {release(), "unmap, swap exclusive 1 -> free, read latch", "yielding, no access, seen free"}});
}

TEST(PageGive, AStoreToACleanPageShowsAndNeedsNobody) {
  run(writer(), kAway,
      {{clean(), "lower, write page, (forget)", "idle, read access, seen exclusive 1"},
       {fault(kRead), "wake", "idle, read access, seen exclusive 1"},
       {fault(kWrite), "raise, wake", "idle, write access, seen exclusive 1, fresh"},
       {release(), "unmap, write page, swap exclusive 1 -> free, read latch", "yielding, no access, seen free"}});
}

TEST(PageGive, OnlyAPageThatIsChangedElsewhereThanAtHomeIsCleaned) {
  run(reader(shared_word(nodes(1))), kAway, {{clean(), "nothing", "idle, read access, seen shared {1}"}});
  run(Page{.access = kWrite}, {.self = 0, .home = 0, .has_bytes = true},
      {{clean(), "nothing", "idle, write access, seen exclusive 0"}});
  Page awaited = writer();
  awaited.fresh = awaited.look_asked = true;
  run(awaited, kAway, {{clean(), "await use", "idle, write access, seen exclusive 1, fresh, look asked"}});
  Page busy = writer();
  busy.phase = Phase::kLooking;
  run(busy, kAway, {{clean(), "nothing", "looking, write access, seen exclusive 1"}});
}

// --- messages are hints ---------------------------------------------------------------------------------------------

std::vector<Event> all_messages() {
  return {nudge(2, kRead), nudge(2, kWrite), nudge(1, Access::kNone), drop(2), look(2), look(2, nodes(0, 1, 3))};
}

// At rest a message leads to one look, and a look that finds nothing to do ends there; however often it comes.
TEST(PageMessages, DuplicatesAreHarmlessAtRest) {
  struct Rest {
    Page page;
    Word word;
  };
  const std::vector<Rest> rests = {{Page{.seen = kFreeWord}, kFreeWord},
                                   {Page{.seen = owned(2)}, owned(2)},
                                   {Page{.seen = owned(2)}, owned(3, nodes(4))},
                                   {reader(shared_word(nodes(1, 3))), shared_word(nodes(1, 3, 4))},
                                   {writer(), owned(1)}};
  for (const Rest& rest : rests) {
    Page page = rest.page;
    for (int round = 0; round < 3; ++round) {
      for (const Event& event : all_messages()) {
        EXPECT_EQ(sim::actions_text(step(page, kAway, event), kAway), "read latch");
        EXPECT_EQ(sim::actions_text(step(page, kAway, event), kAway), "nothing") << "a look is in flight";
        EXPECT_EQ(sim::actions_text(step(page, kAway, looked(rest.word)), kAway), "read latch") << "for the second one";
        EXPECT_EQ(sim::actions_text(step(page, kAway, looked(rest.word)), kAway), "nothing");
        EXPECT_EQ(page.access, rest.page.access);
        EXPECT_EQ(page.phase, Phase::kIdle);
      }
    }
  }
}

// One that waits looks again, finds that nothing has changed, and nudges the owner once more.
TEST(PageMessages, DuplicatesAreHarmlessToAWaiter) {
  Page page{.want = kWrite, .phase = Phase::kWaiting, .enlisted = true, .seen = owned(2)};
  for (const Event& event : all_messages()) {
    EXPECT_EQ(sim::actions_text(step(page, kAway, event), kAway), "read latch, read page");
    EXPECT_EQ(sim::actions_text(step(page, kAway, looked(owned(2), nodes(1, 3))), kAway), "nudge to {2}");
    EXPECT_EQ(page.phase, Phase::kWaiting);
    EXPECT_EQ(page.want, kWrite);
  }
}

// While a chain is in flight a message changes nothing but that the page looks again afterwards.
TEST(PageMessages, WaitForTheChainInFlight) {
  for (const Phase phase : {Phase::kClaiming, Phase::kEnlisting, Phase::kLooking, Phase::kYielding, Phase::kDropping}) {
    for (const Event& event : all_messages()) {
      Page page{.want = kWrite, .asked = kWrite, .phase = phase, .seen = kFreeWord};
      EXPECT_EQ(sim::actions_text(step(page, kAway, event), kAway), "nothing");
      EXPECT_TRUE(page.look_asked);
      EXPECT_EQ(page.phase, phase);
    }
  }
}

TEST(PageMessages, StaleKnowledgeOfReadersIsForgottenByThoseWhoDoNotOwnThePage) {
  Page page{.seen = owned(2)};
  step(page, kAway, nudge(3, kRead));
  EXPECT_EQ(page.readers, nodes(3));
  step(page, kAway, looked(owned(2)));
  EXPECT_EQ(page.readers, 0u);
}

}  // namespace
}  // namespace dsm::proto
