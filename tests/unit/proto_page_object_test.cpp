// Object mode: any number of nodes work on a page's objects together, and raw access excludes all of them.
#include "tests/unit/proto_rig.h"

namespace dsm::proto {
namespace {

constexpr Access kRead = Access::kRead;
constexpr Access kWrite = Access::kWrite;
constexpr Access kObject = Access::kObject;

TEST(PageObject, FreePageIsOneSwapAndNoBytesMove) {
  run(Page{}, kAway,
      {{fault(kObject), "swap free -> object {1}", "claiming, no access, seen free, wants object"},
       {done(kFreeWord), "map object, wake", "idle, object access, seen object {1}, fresh"}});
}

TEST(PageObject, NodesJoinEachOther) {
  run(Page{}, kAway,
      {{fault(kObject), "swap free -> object {1}", "claiming, no access, seen free, wants object"},
       {done(object_word(nodes(2, 3))), "swap object {2,3} -> object {1,2,3}",
        "claiming, no access, seen object {2,3}, wants object"},
       {done(object_word(nodes(2, 3))), "map object, wake", "idle, object access, seen object {1,2,3}, fresh"}});
}

// The thread has other pages for object work, so it must not wait for who claims this one: that waits for the members,
// and they perhaps for the thread.
TEST(PageObject, NestedWorkJoinsMembersThatFinish) {
  const Word finishing = exclusive_word(3, kAway.home, nodes(2)) | kObjectsFinish;
  Event nested = fault(kObject);
  nested.nested = true;
  run(Page{}, kAway,
      {{nested, "swap free -> object {1}", "claiming, no access, seen free, wants object"},
       {done(finishing), "swap exclusive 3 objects-finish {2} -> exclusive 3 objects-finish {1,2}",
        "claiming, no access, seen exclusive 3 objects-finish {2}, wants object, look asked"},
       {done(finishing), "map object, wake, await use",
        "idle, object access, seen exclusive 3 objects-finish {1,2}, fresh, look asked"}});
}

// A raw wish of the same node gives way; who has it asks again.
TEST(PageObject, NestedWorkComesBeforeRawWishesOfItsNode) {
  const Word ours = exclusive_word(1, kAway.home, nodes(2)) | kObjectsFinish;
  Event nested = fault(kObject);
  nested.nested = true;
  Page page{.want = kWrite, .phase = Phase::kWaiting, .seen = ours};
  run(page, kAway,
      {{nested, "read latch", "looking, no access, seen exclusive 1 objects-finish {2}, wants object"},
       {looked(ours), "swap exclusive 1 objects-finish {2} -> object {1,2}, read latch",
        "claiming, no access, seen exclusive 1 objects-finish {2}, wants object"}});
}

TEST(PageObject, ReadersHaveToLeaveFirst) {
  Page page{.seen = shared_word(nodes(2))};
  run(page, kAway,
      {{fault(kObject), "swap shared {2} -> exclusive 1 {2}", "claiming, no access, seen shared {2}, wants object"},
       {done(shared_word(nodes(2))), "drop to {2}", "waiting, no access, seen exclusive 1 {2}, wants object"},
       {look(2), "read latch", "looking, no access, seen exclusive 1 {2}, wants object"},
       {looked(owned(1)), "swap exclusive 1 -> object {1}, read latch",
        "yielding, no access, seen object {1}, wants object"},
       {done(owned(1), {object_word(nodes(1)), 0}), "map object, wake",
        "idle, object access, seen object {1}, fresh"}});
}

TEST(PageObject, OwnWritingEndsAndGoesHomeFirst) {
  run(writer(), kAway,
      {{fault(kObject), "read latch", "looking, write access, seen exclusive 1, wants object"},
       {looked(owned(1)), "unmap, write page, swap exclusive 1 -> object {1}, read latch",
        "yielding, no access, seen object {1}, wants object"},
       {done(owned(1), {object_word(nodes(1)), 0}), "map object, wake",
        "idle, object access, seen object {1}, fresh"}});
}

TEST(PageObject, OwnReadingEndsBeforeTheWordSaysSo) {
  run(reader(shared_word(nodes(1))), kAway,
      {{fault(kObject), "read latch", "looking, read access, seen shared {1}, wants object"},
       {looked(shared_word(nodes(1))), "unmap, swap shared {1} -> object {1}",
        "claiming, no access, seen shared {1}, wants object"},
       {done(shared_word(nodes(1))), "map object, wake", "idle, object access, seen object {1}, fresh"}});
}

TEST(PageObject, RawReaderWaitsForAllAndReadsTheBytesBehindThem) {
  const Word others = object_word(nodes(2, 3));
  const Word finish = owned(1, nodes(2, 3)) | kObjectsFinish;
  run(Page{}, kAway,
      {{fault(kRead), "swap free -> shared {1}, read page", "claiming, no access, seen free, wants read"},
       {done(others), "swap object {2,3} -> exclusive 1 objects-finish {2,3}",
        "claiming, no access, seen object {2,3}, wants read"},
       {done(others), "drop to {2,3}", "waiting, no access, seen exclusive 1 objects-finish {2,3}, wants read"},
       {look(2), "read latch, read page", "looking, no access, seen exclusive 1 objects-finish {2,3}, wants read"},
       {looked(finish), "nothing", "waiting, no access, seen exclusive 1 objects-finish {2,3}, wants read"},
       {look(3), "read latch, read page", "looking, no access, seen exclusive 1 objects-finish {2,3}, wants read"},
       {looked(owned(1)), "map read, wake", "idle, read access, seen exclusive 1, fresh"}});
}

TEST(PageObject, MemberFinishesBeforeItDrops) {
  const Word finish = owned(2, nodes(1)) | kObjectsFinish;
  run(borrower(object_word(nodes(1))), kAway,
      {{drop(2), "await use", "idle, object access, seen object {1}, fresh, look asked"},
       {used(), "read latch", "looking, object access, seen object {1}"},
       {looked(finish), "unmap, swap exclusive 2 objects-finish {1} -> exclusive 2",
        "dropping, no access, seen exclusive 2 objects-finish {1}"},
       {done(finish), "look to {2}", "idle, no access, seen exclusive 2"}});
}

TEST(PageObject, FalseAlarmReopens) {
  run(borrower(object_word(nodes(1))), kAway,
      {{drop(2), "await use", "idle, object access, seen object {1}, fresh, look asked"},
       {used(), "read latch", "looking, object access, seen object {1}"},
       {looked(object_word(nodes(1, 3))), "reopen", "idle, object access, seen object {1,3}, fresh"}});
}

TEST(PageObject, OwnRawAccessWaitsForOwnBorrows) {
  run(borrower(object_word(nodes(1, 2))), kAway,
      {{fault(kWrite), "await use", "waiting, object access, seen object {1,2}, wants write, fresh, look asked"},
       {used(), "read latch", "looking, object access, seen object {1,2}, wants write"},
       {looked(object_word(nodes(1, 2))), "unmap, swap object {1,2} -> exclusive 1 objects-finish {2}",
        "claiming, no access, seen object {1,2}, wants write"},
       {done(object_word(nodes(1, 2))), "drop to {2}",
        "waiting, no access, seen exclusive 1 objects-finish {2}, wants write"}});
}

TEST(PageObject, ReleaseDoesNotGoBehindBorrows) {
  run(borrower(object_word(nodes(1))), kAway,
      {{release(), "nothing", "idle, object access, seen object {1}, fresh"},
       {used(), "nothing", "idle, object access, seen object {1}"},
       {release(), "unmap, swap object {1} -> free", "dropping, no access, seen object {1}"}});
}

TEST(PageObject, OneKindOfWishComesAfterTheOther) {
  run(Page{}, kAway,
      {{fault(kWrite), "swap free -> exclusive 1, read page", "claiming, no access, seen free, wants write"},
       {fault(kObject), "nothing", "claiming, no access, seen free, wants write"},
       {done(kFreeWord), "map write, wake", "idle, write access, seen exclusive 1, fresh"},
       {fault(kObject), "await use", "waiting, write access, seen exclusive 1, wants object, fresh, look asked"}});
}

TEST(PageObject, AllWhoWaitForObjectsComeInTogether) {
  run(writer(), kAway,
      {{nudge(2, kObject), "read latch", "looking, write access, seen exclusive 1, borrowers {2}"},
       {nudge(3, kObject), "nothing", "looking, write access, seen exclusive 1, look asked, borrowers {2,3}"},
       {looked(owned(1), nodes(2, 3)),
        "unmap, write page, waiters - {2,3}, swap exclusive 1 -> object {2,3}, read latch",
        "yielding, no access, seen object {2,3}, look asked"}});
}

TEST(PageObject, WriterIsPutBehindThem) {
  run(writer(), kAway,
      {{nudge(2, kObject), "read latch", "looking, write access, seen exclusive 1, borrowers {2}"},
       {nudge(3, kWrite), "nothing", "looking, write access, seen exclusive 1, look asked, borrowers {2}"},
       {looked(owned(1), nodes(2, 3)),
        "unmap, write page, waiters - {2,3}, swap exclusive 1 -> exclusive 3 objects-finish {2}, read latch",
        "yielding, no access, seen exclusive 3 objects-finish {2}, look asked"}});
}

}  // namespace
}  // namespace dsm::proto
