// How a node gains a page. Read decide() first: everything leads there, with the latch word as last observed.
#include <bit>

#include "base/check.h"
#include "proto/transition.h"

namespace dsm::proto {

// --- gaining a page -------------------------------------------------------------------------------------------------

void Transition::fault(Access access, bool nested) {
  if (allows(page_.access, access)) {
    do_.wake = true;
    return;
  }
  if (nested) {  // a wish for raw access gives way: who has it asks again when the grant wakes him
    page_.look_asked |= !page_.nested && page_.phase != Phase::kIdle;
    page_.nested = true;
    page_.want = Access::kObject;
  }
  if (exclude(page_.want, access) && !page_.ahead) return;  // one kind after the other: the grant wakes all
  page_.soft = page_.ahead = false;
  if (!allows(page_.want, access)) page_.want = access;
  if (page_.phase == Phase::kIdle) start();
}

// What is ours and clean needs no asking for; its store shows whether the page still migrates. Nor does what borrows
// keep: it is raw here already, or waits for that.
void Transition::prefetch(Access access, bool soft) {
  if (page_.phase != Phase::kIdle || allows(page_.access, access) || exclude(page_.access, access)) return;
  if (!soft && (page_.keeps || (page_.access == Access::kRead && owns()))) return;
  page_.want = access;
  page_.ahead = true;
  page_.soft = soft;
  start();
}

// What is in place is as good as what is at home.
void Transition::fresh() {
  if (page_.phase != Phase::kIdle || page_.access > Access::kRead) return;
  page_.fetched = page_.access == Access::kNone;
  prefetch(Access::kWrite, true);
}

// A request from rest. Guessing that the page is as last seen (or free) makes the common miss one round trip.
void Transition::start() {
  if (changes_kind()) {
    page_.phase = Phase::kWaiting;
    page_.look_asked = true;  // and what we have must have been used
    return;
  }
  if (page_.access == Access::kRead && owns()) {
    page_.migratory |= page_.joined;  // it was handed to us whole; else it has been clean
    return granted(Access::kWrite);
  }
  if (owned_by(page_.seen, place_.self, place_.home) && page_.seen != 0) return look();
  if (is_exclusive(page_.seen)) return page_.access == Access::kNone ? claim(kFreeWord) : look();
  claim(page_.access == Access::kNone ? without(page_.seen, place_.self) : page_.seen);
}

// What a claim makes of a word that has no owner. Members that are in the way have to leave first.
Word Transition::claim_word(Word from, Access asked) const {
  const NodeSet others = without(set_of(from), place_.self);
  const bool beside = others == 0 || is_object(from) == (asked == Access::kObject);
  if (beside && asked == Access::kRead) return shared_word(others | node_bit(place_.self));
  if (beside && asked == Access::kObject) return object_word(others | node_bit(place_.self));
  return over(others, is_object(from));
}

// Ours once `others` have left.
Word Transition::over(NodeSet others, bool objects) const {
  const Word work = kObjectsFinish | (page_.keeps ? kOwnerBorrows : 0);
  return exclusive_word(place_.self, place_.home, others) | (objects && others != 0 ? work : 0);
}

void Transition::claim(Word from) {
  DSM_CHECK(!is_exclusive(from), "claim from {:x}", from);
  const Word next = claim_word(from, page_.want);
  if (gives_up(is_object(from)) && is_exclusive(next) && set_of(next) != 0) {
    page_.fetched = false;
    stop_wanting();  // others would have to drop
    return rest();
  }
  if (changes_kind()) take_away();
  page_.asked = page_.want;
  page_.seen = from;
  swap(from, next);
  do_.read_page = needs_bytes() && !objects_at_work(next);
  begin(Phase::kClaiming);
}

void Transition::claimed(Word old, const Latch& latch) {
  if (old != page_.seen) {
    if (page_.enlisted && held_by_us(old)) return look();  // is our waiters bit still set?
    return decide(old);
  }
  if (is_exclusive(old) && !owned_by(old, place_.self, place_.home)) {
    return claimed_as_member(old, latch);
  }
  if (is_exclusive(old)) {
    page_.fetched = page_.asked == Access::kRead;
    return joined_beside(latch);
  }
  page_.migratory = page_.joined && page_.asked == Access::kWrite && page_.access == Access::kRead &&
                    std::has_single_bit(without(set_of(old), place_.self));
  page_.seen = claim_word(old, page_.asked);
  page_.fetched = page_.asked != Access::kObject && !objects_at_work(page_.seen);
  if (page_.enlisted) leave_waiters();
  if (!is_exclusive(page_.seen)) return granted(page_.asked);
  if (set_of(page_.seen) == 0) return granted(Access::kWrite);
  page_.phase = Phase::kWaiting;
  send(MessageKind::kDrop, set_of(page_.seen));
}

void Transition::granted(Access access) {
  if (page_.enlisted) leave_waiters();  // whoever granted it did not see our bit, so nobody else clears it
  page_.migratory = page_.migratory && page_.access == Access::kRead && access == Access::kWrite;
  if (page_.access == Access::kNone) {
    do_.map = access;
  } else if (!allows(page_.access, access)) {
    do_.raise = true;
  }
  page_.joined = access == Access::kRead;
  page_.keeps = page_.keeps && access == Access::kWrite;
  page_.access = access;
  page_.fetched = false;
  // A prefetch that raises a page does not cancel what is owed.
  page_.fresh = page_.fresh || !page_.ahead || access == Access::kObject;
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
  // Read behind a latch that held.
  const bool before_us = is_members(latch.word) && owned_by(latch.word, place_.self, place_.home);
  const bool changes = objects_at_work(latch.word) || before_us;
  if (page_.phase == Phase::kLooking && page_.reading && held && !changes) page_.fetched = true;
  page_.reading = false;
  decide(latch.word);
}

void Transition::decide(Word word) {
  page_.seen = word;
  if (owned_by(word, place_.self, place_.home)) return decide_as_owner(word);
  if (contains(set_of(word), place_.self)) return decide_as_member(word);
  decide_as_stranger(word);
}

void Transition::decide_as_owner(Word word) {
  if (set_of(word) != 0) {
    const Access theirs = objects_at_work(word) ? Access::kObject : Access::kRead;
    if (page_.want == theirs && !is_members(word)) return join_beside(word);
    page_.phase = Phase::kWaiting;  // the last reader to drop will tell us
    return;
  }
  if (page_.want == Access::kObject && !(changes_kind() && page_.fresh)) {
    if (changes_kind() && waiters_ != 0 && !page_.keeps) return yield();  // we have had our turn
    return begin_objects();
  }
  if (page_.want != Access::kNone && !changes_kind()) {
    if (needs_bytes()) return look();
    page_.look_asked |= waiters_ != 0;
    return granted(page_.want);
  }
  rest();
  if (page_.fresh) {
    page_.look_asked = true;
  } else {
    yield();
  }
}

// The page is ours, and we want it for objects: all who wait for that come in together, and the next of the others is
// put behind us at once, as in yield().
void Transition::begin_objects() {
  const NodeSet others = waiters_ & page_.borrowers;
  const NodeId next = next_after(waiters_ & ~others, place_.self);
  const NodeSet set = others | node_bit(place_.self);
  if (next == kNoNode) return hand_over(object_word(set), others);
  hand_over(exclusive_word(next, place_.home, set) | kObjectsFinish, others | node_bit(next));
}

// The page is ours once its members have dropped it, but we want no more than they have: somebody took us for a writer.
// The turn goes on to the next who may want more; who serves whom is as in yield(), but the waiters bits stay, since a
// member that drops meanwhile undoes the swap. Whoever is served so takes away its own.
void Transition::join_beside(Word word) {
  if (!looked_) return look();
  const NodeSet waiters = waiters_ & ~set_of(word);  // a member has been served so, and will take its bit away
  const NodeSet alike = waiters & (page_.want == Access::kRead ? page_.readers : page_.borrowers);
  const NodeId next = next_after(waiters & ~alike, place_.self);
  const NodeSet set = set_of(word) | alike | node_bit(place_.self);
  page_.asked = page_.want;
  page_.seen = word;
  if (next != kNoNode) {
    swap(word, exclusive_word(next, place_.home, set) | (word & kObjectsFinish));
  } else {
    swap(word, page_.want == Access::kRead ? shared_word(set) : object_word(set));
  }
  do_.read_latch = true;
  do_.read_page = needs_bytes();
  begin(Phase::kClaiming);
}

// It has worked, and the word as read behind it has us in its set: only we take ourselves out of it.
void Transition::joined_beside(const Latch& latch) {
  page_.seen = latch.word;
  NodeSet tell = set_of(latch.word) | latch.waiters;
  if (is_exclusive(latch.word)) tell |= node_bit(owner_of(latch.word, place_.home));
  send(MessageKind::kLook, without(tell, place_.self));
  tell_whom_we_know();
  page_.look_asked |= is_exclusive(latch.word);
  granted(page_.asked);
}

// The members are to finish and leave the page to its next owner. Whom we wait for may wait for them.
void Transition::join_members(Word word) {
  page_.asked = page_.want;
  page_.seen = word;
  swap(word, word | node_bit(place_.self));
  page_.look_asked = true;  // and we are to finish, too
  begin(Phase::kClaiming);
}

// Self is in the set: the word has no owner, or one that waits for us to drop.
void Transition::decide_as_member(Word word) {
  const bool drop_due = is_exclusive(word);
  const bool plain = is_members(word);
  const Access theirs = objects_at_work(word) ? Access::kObject : plain ? Access::kWrite : Access::kRead;
  if (page_.want == theirs && page_.access == Access::kNone) {
    if (needs_bytes()) return look();
    page_.look_asked |= drop_due;
    return granted(theirs);
  }
  if (page_.fresh && (drop_due || changes_kind())) {
    page_.look_asked = true;
    return rest();
  }
  if (drop_due && page_.keeps && page_.want == Access::kWrite) return go_first(word);
  if (plain && page_.keeps && page_.want == Access::kObject) return resume_objects(word);
  if (drop_due) return drop(word);
  if (page_.want != Access::kNone) return claim(word);
  if (page_.access == Access::kObject && !page_.fresh) do_.reopen = page_.fresh = true;
  rest();
}

// Somebody has claimed the page in which we have borrows, and want it plainly for their sake: we have it first, once we
// are the last member. Until then the word tells whoever leaves to tell who is left. If the claimer is in our position,
// nobody can go.
void Transition::go_first(Word word) {
  if (changes_kind()) take_away();
  page_.seen = word;
  const bool last = set_of(word) == node_bit(place_.self);
  if ((word & kOwnerBorrows) != 0 || (!last && (word & kMemberPlain) != 0)) return rest();
  page_.asked = Access::kWrite;
  swap(word, (last ? word & ~kObjectsFinish : word) | kMemberPlain);
  do_.read_page = last && needs_bytes();
  begin(Phase::kClaiming);
}

// And back: the borrows go on, and others that are nested may join.
void Transition::resume_objects(Word word) {
  take_away();
  page_.asked = page_.want;
  page_.seen = word;
  swap(word, (word & ~kMemberPlain) | kObjectsFinish);
  do_.read_latch = true;
  begin(Phase::kClaiming);
}

// A member's swap has worked, of a word that has another owner.
void Transition::claimed_as_member(Word old, const Latch& latch) {
  if (page_.asked == Access::kWrite && set_of(old) != node_bit(place_.self)) {
    page_.seen = old | kMemberPlain;
    return rest();
  }
  page_.look_asked = true;  // the owner waits
  if (page_.asked == Access::kWrite) {
    page_.seen = (old & ~kObjectsFinish) | kMemberPlain;
    page_.fetched = true;
  } else {
    const bool resumed = is_members(old);
    page_.seen = resumed ? (old & ~kMemberPlain) | kObjectsFinish : old | node_bit(place_.self);
    const NodeSet tell = latch.waiters | node_bit(owner_of(old, place_.home));
    if (resumed) send(MessageKind::kLook, without(tell, place_.self));
  }
  granted(page_.asked);
}

// The page is somebody else's, or free for us to join.
void Transition::decide_as_stranger(Word word) {
  DSM_CHECK(page_.access == Access::kNone, "access {} to a page whose word is {:x}", static_cast<int>(page_.access),
            word);
  page_.fetched = false;
  page_.readers = page_.borrowers = NodeSet{0};  // whom it told of may want something else by the time the page is ours
  if (page_.want == Access::kNone) return rest();
  if (!is_exclusive(word)) return claim(word);
  if (gives_up(objects_at_work(word))) {
    stop_wanting();
    return rest();
  }
  if (page_.nested && objects_at_work(word)) return join_members(word);
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
