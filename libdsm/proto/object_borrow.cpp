// One borrow: how a snapshot is taken, how the lock is gained, and how the object goes home.
#include "base/check.h"
#include "proto/object.h"

namespace dsm::proto {
namespace {

// So often a reader begins again because the bytes changed under it; then it has the home hold writers off.
constexpr unsigned kMostTries = 4;

class BorrowStep {
 public:
  BorrowStep(Borrow& borrow, ObjectPlace place, BorrowActions& actions)
      : borrow_(borrow), place_(place), do_(actions) {}

  void begin(const BorrowEvent& event);
  void release(const BorrowEvent& event);
  void give_back(const BorrowEvent& event);
  void granted(const BorrowEvent& event);
  void done(const BorrowEvent& event);

 private:
  bool at_home() const { return place_.self == place_.home; }
  bool in_place() const { return at_home() && !place_.scattered && (borrow_.wish == Wish::kWrite || !place_.small); }
  bool stands_here(Header word) const { return is_held(word, Hold::kStanding, place_.self); }
  bool stands_elsewhere(Header word) const { return hold_of(word) == Hold::kStanding && !stands_here(word); }
  bool current(Header word) const { return borrow_.have && version_of(borrow_.copy) == version_of(word); }
  Turn turn(Wish wish) const { return {place_.self, wish, place_.small, in_place()}; }
  Turn turn() const { return turn(borrow_.wish); }

  void read();
  void validated(Header word);
  void know(Header word);
  void have_read(Header before, Header after);
  void have_read_known(Header after);
  void have_adopted(bool whole, Header after);
  void mark(Header word);
  void marked(Header old);
  void lock(Header word);
  void locked(Header old);
  void found(Header word);
  void got_lock();
  void fetched(Header settled);
  void ask(Wish wish);
  void write_back();
  Header opened_word(Header word) const;
  void open(Header word);
  void opened(Header old);
  void settle(std::uint64_t add);
  void settled(Header old);
  void hand_in(Header word);
  Header handed_in_word(Header word) const;
  void handed_in(Header old);

  void swap(BorrowStage stage, Header from, Header to);
  void end(Outcome outcome);

  Borrow& borrow_;
  const ObjectPlace place_;
  BorrowActions& do_;
};

void BorrowStep::begin(const BorrowEvent& event) {
  DSM_CHECK(borrow_.stage == BorrowStage::kIdle, "a borrow begins in stage {}", static_cast<int>(borrow_.stage));
  borrow_ = Borrow{.wish = event.wish, .have = event.have, .copy = event.copy, .word = event.guess};
  borrow_.knows = event.knows && event.wish == Wish::kRead;
  borrow_.known = event.known;
  if (event.wish == Wish::kWrite) return lock(at_rest(event.have ? event.copy : event.guess));
  if (!event.have && !in_place()) return read();
  borrow_.stage = BorrowStage::kValidating;
  do_.read_before = true;
}

void BorrowStep::swap(BorrowStage stage, Header from, Header to) {
  borrow_.stage = stage;
  do_.swap = true;
  do_.expected = from;
  do_.desired = to;
}

void BorrowStep::end(Outcome outcome) {
  const bool holds = outcome == Outcome::kLocked || outcome == Outcome::kMarked;
  borrow_.stage = holds ? BorrowStage::kHeld : BorrowStage::kIdle;
  do_.outcome = outcome;
}

void BorrowStep::ask(Wish wish) {
  borrow_.stage = BorrowStage::kQueued;
  do_.ask = true;
  do_.turn = turn(wish);
}

// --- reading --------------------------------------------------------------------------------------------------------

void BorrowStep::read() {
  borrow_.stage = BorrowStage::kReading;
  do_.read_before = !borrow_.knows;
  do_.read_bytes = do_.read_after = true;
}

// What the header was a moment ago saves the next chain its first look.
void BorrowStep::know(Header word) {
  borrow_.known = word;
  borrow_.knows = !is_writing(word);
}

void BorrowStep::validated(Header word) {
  borrow_.word = word;
  if (in_place()) return mark(word);
  if (stands_elsewhere(word)) return ask(Wish::kRead);
  if (current(word)) return end(Outcome::kHit);  // while it is being written the copy is the object as it was before
  know(word);
  read();
}

// Valid if no change of the bytes began before the second look. A node that became the standing owner between the looks
// did not change the home's bytes by that.
void BorrowStep::have_read(Header before, Header after) {
  if (borrow_.knows) return have_read_known(after);
  const bool whole = version_of(before) == version_of(after) && !is_writing(before) && !is_writing(after);
  borrow_.word = before;
  if (borrow_.wish == Wish::kWrite) return have_adopted(whole && stands_here(before), after);
  if (stands_elsewhere(before)) return ask(Wish::kRead);
  if (whole) return end(Outcome::kSnapshot);
  know(after);
  ++borrow_.tries < kMostTries ? read() : ask(Wish::kRead);
}

// What is known may be from before the borrow, and who stands elsewhere now may have changed the object since then.
void BorrowStep::have_read_known(Header after) {
  const bool whole = is_same_version(borrow_.known, after);
  borrow_.word = after;
  if (stands_elsewhere(after)) return ask(Wish::kRead);
  if (whole) return end(Outcome::kSnapshot);
  know(after);
  ++borrow_.tries < kMostTries ? read() : ask(Wish::kRead);
}

// The copy of a node that has been made standing owner.
void BorrowStep::have_adopted(bool whole, Header after) {
  if (!whole || !stands_here(after)) return found(after);
  borrow_.have = true;
  borrow_.copy = at_rest(after);
  end(Outcome::kStanding);
}

void BorrowStep::mark(Header word) {
  if (is_asked(word) || !grantable(word, turn())) return ask(Wish::kRead);
  swap(BorrowStage::kMarking, word, granted_word(word, turn()));
}

void BorrowStep::marked(Header old) {
  if (old != borrow_.word) {
    borrow_.word = old;
    return mark(old);
  }
  borrow_.word = granted_word(old, turn());
  borrow_.marked = true;
  end(Outcome::kMarked);
}

// --- the lock -------------------------------------------------------------------------------------------------------

// Tries to lock `word`, which may be no more than a guess. A copy of its version needs no bytes.
void BorrowStep::lock(Header word) {
  borrow_.word = word;
  swap(BorrowStage::kLocking, word, granted_word(word, turn()));
  do_.read_bytes = !in_place() && !current(word);
}

void BorrowStep::locked(Header old) {
  if (old == borrow_.word) {
    borrow_.word = granted_word(old, turn());
    return got_lock();
  }
  found(old);
}

// Not what was expected: is there a way to the lock?
void BorrowStep::found(Header word) {
  borrow_.word = word;
  if (stands_here(word)) return current(word) ? end(Outcome::kStanding) : read();
  if (is_asked(word) || !grantable(word, turn())) return ask(Wish::kWrite);
  lock(word);
}

void BorrowStep::got_lock() {
  borrow_.have = !in_place();
  borrow_.copy = at_rest(borrow_.word);
  end(Outcome::kLocked);
}

// --- the home's answer ----------------------------------------------------------------------------------------------

void BorrowStep::granted(const BorrowEvent& event) {
  DSM_CHECK(borrow_.stage == BorrowStage::kQueued, "a grant in stage {}", static_cast<int>(borrow_.stage));
  const Header word = event.word;
  borrow_.word = word;
  if (borrow_.releasing) return write_back();
  borrow_.lost = borrow_.have && !event.have;
  borrow_.have = borrow_.have && event.have;
  if (in_place()) {
    borrow_.marked = borrow_.wish == Wish::kRead;
    return borrow_.marked ? end(Outcome::kMarked) : got_lock();
  }
  const bool reads = borrow_.wish == Wish::kRead;
  if (current(word) && !reads) return got_lock();
  borrow_.stage = BorrowStage::kFetching;
  do_.read_bytes = !current(word);
  if (reads) do_.add_last = 0 - kOneReader;
}

void BorrowStep::fetched(Header settled) {
  if (borrow_.wish == Wish::kWrite) return got_lock();
  do_.tell_freed = is_asked(settled);
  end(current(borrow_.word) ? Outcome::kHit : Outcome::kSnapshot);
}

// --- release --------------------------------------------------------------------------------------------------------

void BorrowStep::release(const BorrowEvent& event) {
  DSM_CHECK(borrow_.stage == BorrowStage::kHeld, "a release in stage {}", static_cast<int>(borrow_.stage));
  if (borrow_.marked) return settle(0 - kOneReader);
  DSM_CHECK(event.to != place_.home, "the home cannot be a standing owner");
  borrow_.releasing = true;
  borrow_.changed = event.changed;
  borrow_.to = event.to;
  // A large object is not handed to a standing owner beside readers in place: it could not give it back at once.
  const bool readers_matter = !in_place() && !place_.small && (event.changed || event.to != kNoNode);
  readers_matter ? open(borrow_.word) : write_back();
}

void BorrowStep::give_back(const BorrowEvent& event) {
  DSM_CHECK(borrow_.stage == BorrowStage::kIdle, "giving back in stage {}", static_cast<int>(borrow_.stage));
  borrow_ = Borrow{.wish = Wish::kWrite,
                   .have = event.have,
                   .changed = event.changed,
                   .give_back = true,
                   .keep = event.keep,
                   .copy = event.copy,
                   .word = event.copy | held_by(Hold::kStanding, place_.self)};
  if (event.changed) return open(borrow_.word);
  hand_in(borrow_.word);
}

// Small: nobody reads in place, so that the mark, the bytes and the end of both can go in one chain.
void BorrowStep::write_back() {
  const bool opened = is_writing(borrow_.word);
  if (borrow_.changed && !in_place()) {
    if (!opened) do_.add_first = kWriting;
    do_.write_bytes = true;
  }
  std::uint64_t add = borrow_.keep ? 0 : 0 - held_by(Hold::kLocked, place_.self);
  if (opened || do_.add_first != 0) add -= kWriting;
  if (borrow_.changed && !borrow_.give_back) add += kOneVersion;
  if (borrow_.to != kNoNode) add += held_by(Hold::kStanding, borrow_.to);
  settle(add);
}

// What a standing owner has changed was done before this: from now on no copy of the old version is current.
Header BorrowStep::opened_word(Header word) const {
  return granted_word(word, turn(Wish::kWriteBack)) + (borrow_.give_back ? kOneVersion : 0);
}

void BorrowStep::open(Header word) {
  if (readers_of(word) != 0) {
    DSM_CHECK(!borrow_.give_back, "a standing object with readers: {:x}", word);
    return ask(Wish::kWriteBack);
  }
  swap(BorrowStage::kOpening, word, opened_word(word));
}

void BorrowStep::opened(Header old) {
  const Header expected = borrow_.word;
  borrow_.word = old;
  if (old == expected) {
    borrow_.word = opened_word(old);
    return write_back();
  }
  const bool ours = borrow_.give_back ? stands_here(old) && version_of(old) == version_of(borrow_.copy)
                                      : is_held(old, Hold::kLocked, place_.self);
  DSM_CHECK(ours || borrow_.give_back, "the header of a locked object has become {:x}", old);
  if (!ours) return end(Outcome::kDropped);
  open(old);
}

void BorrowStep::settle(std::uint64_t add) {
  borrow_.stage = BorrowStage::kSettling;
  do_.add_last = add;
  borrow_.word = add;  // what it becomes is known once the old word is
}

void BorrowStep::settled(Header old) {
  borrow_.word += old;
  borrow_.marked = false;
  do_.tell_freed = is_asked(old);
  end(Outcome::kReleased);
}

// Gives up a standing hold without bytes.
void BorrowStep::hand_in(Header word) { swap(BorrowStage::kReturning, word, handed_in_word(word)); }

Header BorrowStep::handed_in_word(Header word) const {
  return (word & ~kHoldMask) | (borrow_.keep ? held_by(Hold::kLocked, place_.self) : 0);
}

void BorrowStep::handed_in(Header old) {
  if (old == borrow_.word) {
    borrow_.word = handed_in_word(old);
    do_.tell_freed = is_asked(old);
    return end(Outcome::kReleased);
  }
  borrow_.word = old;
  const bool ours = stands_here(old) && (!borrow_.have || version_of(old) == version_of(borrow_.copy));
  ours ? hand_in(old) : end(Outcome::kDropped);
}

// --------------------------------------------------------------------------------------------------------------------

void BorrowStep::done(const BorrowEvent& event) {
  switch (borrow_.stage) {
    case BorrowStage::kValidating:
      return validated(event.before);
    case BorrowStage::kReading:
      return have_read(event.before, event.after);
    case BorrowStage::kMarking:
      return marked(event.old);
    case BorrowStage::kLocking:
      return locked(event.old);
    case BorrowStage::kFetching:
      return fetched(event.settled);
    case BorrowStage::kOpening:
      return opened(event.old);
    case BorrowStage::kSettling:
      return settled(event.settled);
    case BorrowStage::kReturning:
      return handed_in(event.old);
    case BorrowStage::kIdle:
    case BorrowStage::kQueued:
    case BorrowStage::kHeld:
      break;
  }
  DSM_CHECK(false, "a chain has ended that was not in flight (stage {})", static_cast<int>(borrow_.stage));
}

}  // namespace

BorrowActions step(Borrow& borrow, ObjectPlace place, const BorrowEvent& event) {
  BorrowActions actions;
  BorrowStep transition(borrow, place, actions);
  switch (event.kind) {
    case BorrowEventKind::kBorrow:
      transition.begin(event);
      break;
    case BorrowEventKind::kRelease:
      transition.release(event);
      break;
    case BorrowEventKind::kGiveBack:
      transition.give_back(event);
      break;
    case BorrowEventKind::kGranted:
      transition.granted(event);
      break;
    case BorrowEventKind::kDone:
      transition.done(event);
      break;
  }
  return actions;
}

}  // namespace dsm::proto
