// The transitions of page.h. Read decide() first: everything leads there, with the latch word as last observed.
#include "proto/page.h"

#include "base/check.h"

namespace dsm::proto {
namespace {

// One step in the making: the page, where it is, and the actions so far.
class Transition {
 public:
  Transition(Page& page, Place place, Actions& actions) : page_(page), place_(place), do_(actions) {}

  void fault(Access access);
  void prefetch(Access access);
  void release(Word next);
  void keep_reading();
  void message(NodeId from, const PageMessage& message);
  void done(Word old, const Latch& latch);
  void settle();

 private:
  bool busy() const { return page_.phase != Phase::kIdle && page_.phase != Phase::kWaiting; }
  bool bytes_elsewhere() const { return place_.has_bytes && place_.home != place_.self; }
  bool needs_bytes() const { return bytes_elsewhere() && page_.access == Access::kNone && !page_.fetched; }
  bool held_by_us(Word word) const {
    return owned_by(word, place_.self, place_.home) || contains(set_of(word), place_.self);
  }
  bool waits_here(const Latch& latch) const { return contains(latch.waiters, place_.self); }
  Word claim_word(Word from, Access asked) const;

  void start();
  void claim(Word from);
  void claimed(Word old, const Latch& latch);
  void read_beside(Word word);
  void beside_readers(const Latch& latch);
  void granted(Access access);
  void look();
  void observed(const Latch& latch);
  void decide(Word word);
  void decide_as_owner(Word word);
  void decide_as_reader(Word word);
  void decide_as_stranger(Word word);
  void enlist_or_wait(NodeId owner);
  void yield();
  void hand_over(Word next, NodeSet served);
  void yielded(const Latch& latch);
  void drop(Word from);
  void dropped(Word old);

  void begin(Phase phase);
  void rest() { page_.phase = page_.want == Access::kNone ? Phase::kIdle : Phase::kWaiting; }
  void stop_wanting();
  void leave_waiters();
  void swap(Word expected, Word desired);
  void send(MessageKind kind, NodeSet to);

  Page& page_;
  const Place place_;
  Actions& do_;
  bool looked_ = false;  // the latch has been observed in this step
  NodeSet waiters_ = 0;  // other nodes that wait, as observed then
};

// --- gaining a page -------------------------------------------------------------------------------------------------

void Transition::fault(Access access) {
  if (page_.access >= access) {
    do_.wake = true;
    return;
  }
  page_.soft = false;
  if (page_.want < access) page_.want = access;
  if (page_.phase == Phase::kIdle) start();
}

void Transition::prefetch(Access access) {
  if (page_.phase != Phase::kIdle || page_.access >= access) return;
  page_.want = access;
  page_.soft = true;
  start();
}

// A request from rest. Guessing that the page is as last seen (or free) makes the common miss one round trip.
void Transition::start() {
  if (owned_by(page_.seen, place_.self, place_.home) && page_.seen != 0) return look();
  if (!is_shared(page_.seen)) return page_.access == Access::kNone ? claim(kFreeWord) : look();
  claim(page_.access == Access::kNone ? without(page_.seen, place_.self) : page_.seen);
}

Word Transition::claim_word(Word from, Access asked) const {
  if (asked == Access::kRead) return from | node_bit(place_.self);
  return exclusive_word(place_.self, place_.home, without(set_of(from), place_.self));
}

void Transition::claim(Word from) {
  DSM_CHECK(is_shared(from), "claim from {:x}", from);
  if (page_.soft && page_.want == Access::kWrite && without(set_of(from), place_.self) != 0) {
    stop_wanting();  // readers would have to drop
    return rest();
  }
  page_.asked = page_.want;
  page_.seen = from;
  swap(from, claim_word(from, page_.asked));
  do_.read_page = needs_bytes();
  begin(Phase::kClaiming);
}

void Transition::claimed(Word old, const Latch& latch) {
  if (old != page_.seen) {
    if (page_.enlisted && held_by_us(old)) return look();  // is our waiters bit still set?
    return decide(old);
  }
  page_.fetched = true;
  if (is_exclusive(old)) return beside_readers(latch);
  page_.seen = claim_word(old, page_.asked);
  if (page_.enlisted) leave_waiters();
  if (page_.asked == Access::kRead) return granted(Access::kRead);
  if (set_of(page_.seen) == 0) return granted(Access::kWrite);
  page_.phase = Phase::kWaiting;
  send(MessageKind::kDrop, set_of(page_.seen));
}

void Transition::granted(Access access) {
  if (page_.enlisted) leave_waiters();  // whoever granted it did not see our bit, so nobody else clears it
  if (page_.access == Access::kNone) {
    do_.map = access;
  } else if (access > page_.access) {
    do_.raise = true;
  }
  page_.access = access;
  page_.fetched = false;
  page_.fresh = page_.fresh || !page_.soft;  // a prefetch that raises a page does not cancel what is owed
  stop_wanting();
  do_.wake = true;
  rest();
}

// --- looking at the word --------------------------------------------------------------------------------------------

void Transition::look() {
  page_.look_asked = false;
  page_.reading = page_.want != Access::kNone && needs_bytes();
  do_.read_latch = true;
  do_.read_page = page_.reading;
  begin(Phase::kLooking);
}

void Transition::observed(const Latch& latch) {
  looked_ = true;
  waiters_ = without(latch.waiters, place_.self);
  page_.enlisted = waits_here(latch);
  const bool held = held_by_us(latch.word);
  if (page_.enlisted && held) leave_waiters();  // served by another way, or again: nobody else clears our bit now
  if (page_.phase == Phase::kLooking && page_.reading && held) page_.fetched = true;  // read behind a latch that held
  page_.reading = false;
  decide(latch.word);
}

void Transition::decide(Word word) {
  page_.seen = word;
  if (owned_by(word, place_.self, place_.home)) return decide_as_owner(word);
  if (contains(set_of(word), place_.self)) return decide_as_reader(word);
  decide_as_stranger(word);
}

void Transition::decide_as_owner(Word word) {
  if (set_of(word) != 0) {
    if (page_.want == Access::kRead) return read_beside(word);
    page_.phase = Phase::kWaiting;  // the last reader to drop will tell us
    return;
  }
  if (page_.want != Access::kNone) {
    if (needs_bytes()) return look();
    page_.look_asked |= waiters_ != 0;
    return granted(Access::kWrite);
  }
  rest();
  if (page_.fresh) {
    page_.look_asked = true;
  } else {
    yield();
  }
}

// The page is ours once its readers have dropped it, but we want no more than to read it too: somebody took us for a
// writer. The turn goes on to the next who may write; who serves whom is as in yield(), but the waiters bits stay, since
// a reader that drops meanwhile undoes the swap. Whoever is served so takes away its own.
void Transition::read_beside(Word word) {
  if (!looked_) return look();
  const NodeSet waiters = waiters_ & ~set_of(word);  // a member has been served so, and will take its bit away
  const NodeSet readers = waiters & page_.readers;
  const NodeId writer = next_after(waiters & ~readers, place_.self);
  const NodeSet set = set_of(word) | readers | node_bit(place_.self);
  page_.asked = Access::kRead;
  page_.seen = word;
  swap(word, writer == kNoNode ? shared_word(set) : exclusive_word(writer, place_.home, set));
  do_.read_latch = true;
  do_.read_page = needs_bytes();
  begin(Phase::kClaiming);
}

// It has worked, and the word as read behind it has us in its set: only we take ourselves out of it.
void Transition::beside_readers(const Latch& latch) {
  page_.seen = latch.word;
  NodeSet tell = set_of(latch.word) | latch.waiters;
  if (is_exclusive(latch.word)) tell |= node_bit(owner_of(latch.word, place_.home));
  send(MessageKind::kLook, without(tell, place_.self));
  do_.send_readers = page_.readers;
  page_.readers = 0;
  page_.look_asked |= is_exclusive(latch.word);
  granted(Access::kRead);
}

// Self may read: the word is shared with us in it, or another node's that waits for us to drop.
void Transition::decide_as_reader(Word word) {
  const bool drop_due = is_exclusive(word);
  if (page_.want == Access::kRead && page_.access == Access::kNone) {
    if (needs_bytes()) return look();
    page_.look_asked |= drop_due;
    return granted(Access::kRead);
  }
  if (!drop_due) return page_.want == Access::kWrite ? claim(word) : rest();
  if (!page_.fresh) return drop(word);
  page_.look_asked = true;
  rest();
}

// The page is somebody else's, or free for us to join.
void Transition::decide_as_stranger(Word word) {
  DSM_CHECK(page_.access == Access::kNone, "access {} to a page whose word is {:x}", static_cast<int>(page_.access),
            word);
  page_.fetched = false;
  page_.readers = 0;  // whom it told of may want something else by the time the page is ours
  if (page_.want == Access::kNone) return rest();
  if (is_shared(word)) return claim(word);
  if (page_.soft) {
    stop_wanting();
    return rest();
  }
  enlist_or_wait(owner_of(word, place_.home));
}

void Transition::enlist_or_wait(NodeId owner) {
  if (!page_.enlisted) {
    do_.waiters_add = node_bit(place_.self);
    do_.read_latch = true;
    return begin(Phase::kEnlisting);
  }
  page_.phase = Phase::kWaiting;
  send(MessageKind::kNudge, node_bit(owner));
  do_.send_want = page_.want;
}

// --- giving a page up -----------------------------------------------------------------------------------------------

// We own the page, need it no more, and have just observed who waits: choose the next. Cyclic order is the fairness. If
// the next one only reads, all waiting readers come in together, and the next writer is put behind them at once, so
// that later readers cannot overtake it.
void Transition::yield() {
  const NodeId next = next_after(waiters_, place_.self);
  if (next == kNoNode) return;
  const NodeSet readers = waiters_ & page_.readers;
  if (!contains(readers, next)) return hand_over(exclusive_word(next, place_.home), node_bit(next));
  const NodeId writer = next_after(waiters_ & ~readers, place_.self);
  if (writer != kNoNode) {
    return hand_over(exclusive_word(writer, place_.home, readers), readers | node_bit(writer));
  }
  const NodeSet self = page_.access == Access::kNone ? 0 : node_bit(place_.self);
  hand_over(shared_word(readers | self), readers);
}

// From exclusive(self) to `next`; the waiters bits of those who are `served` go with it.
void Transition::hand_over(Word next, NodeSet served) {
  const bool keep_reading = contains(set_of(next), place_.self);
  do_.write_page = page_.access == Access::kWrite && bytes_elsewhere();
  do_.lower = keep_reading;
  do_.unmap = !keep_reading && page_.access != Access::kNone;
  page_.access = keep_reading ? Access::kRead : Access::kNone;
  page_.fresh = page_.fetched = false;
  page_.readers &= ~served;
  do_.waiters_add += ~served + 1;  // bits that are surely set
  swap(exclusive_word(place_.self, place_.home), next);
  do_.read_latch = true;  // who began to wait while the page was ours relies on us to be told
  page_.seen = next;
  begin(Phase::kYielding);
}

void Transition::yielded(const Latch& latch) {
  NodeSet tell = set_of(page_.seen);
  if (is_exclusive(page_.seen)) {
    tell |= node_bit(owner_of(page_.seen, place_.home));
  } else {
    tell |= latch.waiters;
  }
  send(MessageKind::kLook, without(tell, place_.self));
  do_.send_readers = page_.readers;
  page_.readers = 0;
  decide(page_.seen);
}

void Transition::drop(Word from) {
  do_.unmap = page_.access != Access::kNone;
  page_.access = Access::kNone;
  page_.fresh = page_.fetched = false;
  page_.seen = from;
  swap(from, without(from, place_.self));
  begin(Phase::kDropping);
}

void Transition::dropped(Word old) {
  if (old != page_.seen) {
    DSM_CHECK(contains(set_of(old), place_.self), "dropping a page whose word is {:x}", old);
    return drop(old);
  }
  const Word now = without(old, place_.self);
  if (is_exclusive(now) && set_of(now) == 0) send(MessageKind::kLook, node_bit(owner_of(now, place_.home)));
  decide(now);
}

// The program needs the page no more. Nothing to do for a page that is not ours or is being worked on.
void Transition::release(Word next) {
  if (page_.phase != Phase::kIdle || page_.access == Access::kNone) return;
  if (page_.access == Access::kWrite) return hand_over(next, 0);
  drop(page_.seen);
}

// The program goes on reading and needs to write no more: waiting readers may come in beside it, and a waiting writer will
// claim the page and have us drop it in our own time. A page that is only read already is looked at, although its use is
// awaited: perhaps nobody waits any more.
void Transition::keep_reading() {
  if (busy() || page_.access == Access::kNone) return;
  if (page_.access == Access::kRead) return look();
  page_.look_asked = false;  // all who wait will be told
  hand_over(shared_word(node_bit(place_.self)), 0);
  page_.fresh = true;
}

// --- the rest -------------------------------------------------------------------------------------------------------

void Transition::message(NodeId from, const PageMessage& message) {
  if (message.kind == MessageKind::kNudge) {
    page_.readers = message.want == Access::kRead ? page_.readers | node_bit(from) : without(page_.readers, from);
  } else {
    page_.readers |= message.readers;
  }
  page_.look_asked = true;
}

void Transition::done(Word old, const Latch& latch) {
  switch (page_.phase) {
    case Phase::kClaiming: return claimed(old, latch);
    case Phase::kEnlisting:
    case Phase::kLooking: return observed(latch);
    case Phase::kYielding:
      DSM_CHECK(old == exclusive_word(place_.self, place_.home), "our page's word changed to {:x}", old);
      return yielded(latch);
    case Phase::kDropping: return dropped(old);
    case Phase::kIdle:
    case Phase::kWaiting: break;
  }
  DSM_CHECK(false, "a chain has ended that was not in flight (phase {})", static_cast<int>(page_.phase));
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
  page_.soft = false;
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

}  // namespace

Actions step(Page& page, Place place, const Event& event) {
  Actions actions;
  Transition transition(page, place, actions);
  switch (event.kind) {
    case EventKind::kFault: transition.fault(event.access); break;
    case EventKind::kPrefetch: transition.prefetch(event.access); break;
    case EventKind::kRelease:
      event.access == Access::kRead ? transition.keep_reading() : transition.release(kFreeWord);
      break;
    case EventKind::kTransfer: transition.release(exclusive_word(event.node, place.home)); break;
    case EventKind::kMessage: transition.message(event.node, event.message); break;
    case EventKind::kUsed: page.fresh = false; break;
    case EventKind::kDone: transition.done(event.old, event.latch); break;
  }
  transition.settle();
  return actions;
}

bool is_sound(const Page& page, Place place) {
  const bool owner = owned_by(page.seen, place.self, place.home);
  if (page.access == Access::kWrite && !(owner && set_of(page.seen) == 0)) return false;
  if (page.access == Access::kRead && !owner && !contains(set_of(page.seen), place.self)) return false;
  if (page.want == Access::kNone && page.soft) return false;
  if (page.want != Access::kNone && page.phase == Phase::kIdle) return false;
  if (page.want != Access::kNone && page.want <= page.access) return false;
  return page.phase != Phase::kLooking || page.fetched == false || !page.reading;
}

}  // namespace dsm::proto
