// How a node gives a page up: to the waiters in their turn, to a writer that has claimed it, or because the program
// asks.
#include <bit>

#include "base/check.h"
#include "proto/transition.h"

namespace dsm::proto {

// --- giving a page up -----------------------------------------------------------------------------------------------

// We own the page, need it no more, and have just observed who waits: choose the next. Cyclic order is the fairness. If
// the next one only reads, all waiting readers come in together, and the next of the others is put behind them at once,
// so that later readers cannot overtake it. The same with object work.
void Transition::yield() {
  const NodeId next = next_after(waiters_, place_.self);
  if (next == kNoNode) return;
  const bool objects = contains(page_.borrowers, next);
  const NodeSet alike = waiters_ & (objects ? page_.borrowers : page_.readers);
  if (!contains(alike, next)) return hand_over(exclusive_word(next, place_.home), node_bit(next));
  const NodeId other = next_after(waiters_ & ~alike, place_.self);
  if (other != kNoNode) {
    const Word finish = objects ? kObjectsFinish : 0;
    return hand_over(exclusive_word(other, place_.home, alike) | finish, alike | node_bit(other));
  }
  if (objects) return hand_over(object_word(alike), alike);
  const bool lend = page_.migratory && page_.access == Access::kWrite && alike == node_bit(next);
  if (lend) return hand_over(exclusive_word(next, place_.home), alike);
  const NodeSet self = page_.access == Access::kNone ? 0 : node_bit(place_.self);
  hand_over(shared_word(alike | self), alike);
}

// From exclusive(self) to `next`; the waiters bits of those who are `served` go with it.
void Transition::hand_over(Word next, NodeSet served) {
  const bool keep_reading = is_shared(next) && contains(set_of(next), place_.self);
  do_.write_page = page_.access == Access::kWrite && bytes_elsewhere();
  do_.lower = keep_reading && page_.access == Access::kWrite;
  do_.unmap = !keep_reading && page_.access != Access::kNone;
  page_.access = keep_reading ? Access::kRead : Access::kNone;
  page_.fresh = page_.fetched = page_.joined = false;
  page_.readers = page_.readers & ~served;
  page_.borrowers = page_.borrowers & ~served;
  do_.waiters_add += ~served + 1;  // bits that are surely set
  swap(exclusive_word(place_.self, place_.home), next);
  do_.read_latch = true;  // who began to wait while the page was ours relies on us to be told
  page_.seen = next;
  begin(Phase::kYielding);
}

void Transition::yielded(const Latch& latch) {
  NodeSet tell = set_of(page_.seen);
  if (is_exclusive(page_.seen)) tell |= node_bit(owner_of(page_.seen, place_.home));
  if (!is_exclusive(page_.seen) || objects_at_work(page_.seen)) tell |= latch.waiters;  // who is nested joins them
  send(MessageKind::kLook, without(tell, place_.self));
  tell_whom_we_know();
  decide(page_.seen);
}

// Who is told of the page is told, too, what we know of those who wait.
void Transition::tell_whom_we_know() {
  do_.send_readers = page_.readers;
  do_.send_borrowers = page_.borrowers;
  page_.readers = page_.borrowers = NodeSet{0};
}

// The view closes, or object work ends, before the word says so. A member that has had the page alone writes it home.
void Transition::take_away() {
  do_.write_page = bytes_elsewhere() && page_.access == Access::kWrite;
  do_.unmap = page_.access != Access::kNone;
  page_.access = Access::kNone;
  page_.fresh = page_.fetched = page_.joined = false;
}

void Transition::drop(Word from) {
  take_away();
  page_.seen = from;
  swap(from, left_by(from, place_.self));
  begin(Phase::kDropping);
}

void Transition::dropped(Word old) {
  if (old != page_.seen) {
    DSM_CHECK(contains(set_of(old), place_.self), "dropping a page whose word is {:x}", old);
    return drop(old);
  }
  const Word now = left_by(old, place_.self);
  if (is_exclusive(now) && set_of(now) == 0) send(MessageKind::kLook, node_bit(owner_of(now, place_.home)));
  const bool last_may_go = (now & kMemberPlain) != 0 && std::has_single_bit(set_of(now));
  if (last_may_go) send(MessageKind::kLook, set_of(now));
  decide(now);
}

// The program needs the page no more. Nothing to do for a page that is not ours or is being worked on.
void Transition::release(Word next) {
  page_.keeps = page_.keeps && keeps_;
  if (page_.phase != Phase::kIdle || page_.access == Access::kNone) return;
  if (page_.fresh && (page_.access == Access::kObject || page_.keeps)) return;  // not behind the borrows' backs
  if (owns()) return hand_over(next, 0);
  drop(page_.seen);
}

// The program goes on reading and needs to write no more: waiting readers may come in beside it, and a waiting writer
// will claim the page and have us drop it in our own time. A page that is only read already is looked at, although its
// use is awaited: perhaps nobody waits any more.
void Transition::keep_reading() {
  page_.keeps = page_.keeps && keeps_;
  if (busy() || page_.access == Access::kNone || page_.access == Access::kObject || page_.keeps) return;
  if (!owns()) return look();
  page_.look_asked = false;  // all who wait will be told
  hand_over(shared_word(node_bit(place_.self)), 0);
  page_.fresh = true;
}

// The view closes to stores before the bytes go, so whatever comes after them makes the page dirty again. Not if
// somebody waits: the store would be one more that comes before him.
void Transition::clean() {
  if (page_.phase != Phase::kIdle || page_.access != Access::kWrite || !bytes_elsewhere() || page_.look_asked) return;
  do_.lower = true;
  do_.write_page = true;
  page_.access = Access::kRead;
}

}  // namespace dsm::proto
