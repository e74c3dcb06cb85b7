// How a node gains a page. Read decide() first: everything leads there, with the latch word as last observed.
#include "base/check.h"
#include "proto/transition.h"

namespace dsm::proto {

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

// What is in place is as good as what is at home.
void Transition::fresh() {
  if (page_.phase != Phase::kIdle || page_.access == Access::kWrite) return;
  page_.fetched = page_.access == Access::kNone;
  prefetch(Access::kWrite);
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
    page_.fetched = false;
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
// writer. The turn goes on to the next who may write; who serves whom is as in yield(), but the waiters bits stay,
// since a reader that drops meanwhile undoes the swap. Whoever is served so takes away its own.
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

}  // namespace dsm::proto
