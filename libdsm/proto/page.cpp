// What happens to a page, and where each event leads.
#include "proto/page.h"

#include "base/check.h"
#include "proto/transition.h"

namespace dsm::proto {

void Transition::message(NodeId from, const PageMessage& message) {
  if (message.kind == MessageKind::kNudge) {
    page_.readers = without(page_.readers, from) | (message.want == Access::kRead ? node_bit(from) : 0);
    page_.borrowers = without(page_.borrowers, from) | (message.want == Access::kObject ? node_bit(from) : 0);
  } else {
    page_.readers = page_.readers | message.readers;
    page_.borrowers = page_.borrowers | (message.borrowers & ~message.readers);
  }
  page_.look_asked = true;
}

void Transition::done(Word old, const Latch& latch) {
  switch (page_.phase) {
    case Phase::kClaiming:
      return claimed(old, latch);
    case Phase::kEnlisting:
    case Phase::kLooking:
      return observed(latch);
    case Phase::kYielding:
      DSM_CHECK(old == exclusive_word(place_.self, place_.home), "our page's word changed to {:x}", old);
      return yielded(latch);
    case Phase::kDropping:
      return dropped(old);
    case Phase::kIdle:
    case Phase::kWaiting:
      break;
  }
  DSM_CHECK(false, "a chain has ended that was not in flight (phase {})", static_cast<int>(page_.phase));
}

// With borrows that go on the page stays, but for the other kind of use; raw then for nobody else.
void Transition::used() {
  if (keeps_ && !changes_kind()) return;
  page_.fresh = false;
  page_.keeps = keeps_;
  if (keeps_ && page_.want == Access::kRead) page_.want = Access::kWrite;
}

// After every event: follow a message that had to wait, unless the page is still owed its access.
void Transition::settle() {
  if (busy() || !page_.look_asked) return;
  if (page_.fresh) {
    do_.await_use = true;
  } else {
    look();
  }
}

void Transition::begin(Phase phase) {
  page_.phase = phase;
  do_.expects_done = true;
}

void Transition::stop_wanting() {
  page_.want = Access::kNone;
  page_.soft = page_.ahead = page_.nested = false;
}

void Transition::leave_waiters() {
  do_.waiters_add += ~node_bit(place_.self) + 1;
  page_.enlisted = false;
}

void Transition::swap(Word expected, Word desired) {
  do_.swap = true;
  do_.expected = expected;
  do_.desired = desired;
}

void Transition::send(MessageKind kind, NodeSet to) {
  if (to == 0) return;
  DSM_CHECK(do_.send_to == 0, "two messages in one step");
  do_.send_kind = kind;
  do_.send_to = to;
}

Actions step(Page& page, Place place, const Event& event) {
  Actions actions;
  Transition transition(page, place, event.keeps, actions);
  switch (event.kind) {
    case EventKind::kFault:
      transition.fault(event.access, event.nested);
      break;
    case EventKind::kPrefetch:
      transition.prefetch(event.access, true);
      break;
    case EventKind::kAhead:
      transition.prefetch(event.access, false);
      break;
    case EventKind::kFresh:
      transition.fresh();
      break;
    case EventKind::kRelease:
      event.access == Access::kRead ? transition.keep_reading() : transition.release(kFreeWord);
      break;
    case EventKind::kTransfer:
      transition.release(exclusive_word(event.node, place.home));
      break;
    case EventKind::kClean:
      transition.clean();
      break;
    case EventKind::kMessage:
      transition.message(event.node, event.message);
      break;
    case EventKind::kUsed:
      transition.used();
      break;
    case EventKind::kDone:
      transition.done(event.old, event.latch);
      break;
  }
  transition.settle();
  return actions;
}

bool is_sound(const Page& page, Place place) {
  const bool owner = owned_by(page.seen, place.self, place.home);
  const bool member = contains(set_of(page.seen), place.self);
  const bool alone = owner ? set_of(page.seen) == 0 : member && is_members(page.seen);
  if (page.access == Access::kWrite && !alone) return false;
  if (page.access == Access::kRead && (!(owner || member) || objects_at_work(page.seen))) return false;
  if (page.access == Access::kObject && !(member && objects_at_work(page.seen))) return false;
  if (page.want == Access::kNone && page.ahead) return false;
  if (page.soft && !page.ahead) return false;
  if (page.want != Access::kObject && page.nested) return false;
  if (page.want != Access::kNone && page.phase == Phase::kIdle) return false;
  if (page.want != Access::kNone && allows(page.access, page.want)) return false;
  return page.phase != Phase::kLooking || page.fetched == false || !page.reading;
}

}  // namespace dsm::proto
