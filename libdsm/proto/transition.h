// One step of the page protocol in the making. Private to proto: page.cpp starts it, page_gain.cpp is how a page is
// gained, page_give.cpp how it is given up.
#pragma once

#include "proto/page.h"

namespace dsm::proto {

// One step in the making: the page, where it is, and the actions so far.
class Transition {
 public:
  Transition(Page& page, Place place, bool keeps, Actions& actions)
      : page_(page), place_(place), keeps_(keeps), do_(actions) {}

  void fault(Access access, bool nested);
  void prefetch(Access access, bool soft);
  void fresh();
  void release(Word next);
  void keep_reading();
  void clean();
  void message(NodeId from, const PageMessage& message);
  void done(Word old, const Latch& latch);
  void used();
  void settle();

 private:
  bool busy() const { return page_.phase != Phase::kIdle && page_.phase != Phase::kWaiting; }
  bool bytes_elsewhere() const { return place_.has_bytes && place_.home != place_.self; }
  bool needs_bytes() const {
    return bytes_elsewhere() && page_.want != Access::kObject && page_.access == Access::kNone && !page_.fetched;
  }
  bool owns() const { return owned_by(page_.seen, place_.self, place_.home) && set_of(page_.seen) == 0; }
  bool changes_kind() const { return exclude(page_.access, page_.want); }
  // Rather than make others leave. Who is enlisted cannot: the page may be his already.
  bool gives_up(bool objects) const { return page_.soft || (page_.ahead && objects && !page_.enlisted); }
  bool held_by_us(Word word) const {
    return owned_by(word, place_.self, place_.home) || contains(set_of(word), place_.self);
  }
  bool waits_here(const Latch& latch) const { return contains(latch.waiters, place_.self); }
  Word claim_word(Word from, Access asked) const;
  Word over(NodeSet others, bool objects) const;

  void start();
  void claim(Word from);
  void claimed(Word old, const Latch& latch);
  void begin_objects();
  void join_beside(Word word);
  void join_members(Word word);
  void go_first(Word word);
  void resume_objects(Word word);
  void claimed_as_member(Word old, const Latch& latch);
  void joined_beside(const Latch& latch);
  void granted(Access access);
  void look();
  void observed(const Latch& latch);
  void decide(Word word);
  void decide_as_owner(Word word);
  void decide_as_member(Word word);
  void decide_as_stranger(Word word);
  void enlist_or_wait(NodeId owner);
  void yield();
  void hand_over(Word next, NodeSet served);
  void yielded(const Latch& latch);
  void tell_whom_we_know();
  void take_away();
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
  const bool keeps_;  // of the event
  Actions& do_;
  bool looked_ = false;  // the latch has been observed in this step
  NodeSet waiters_ = 0;  // other nodes that wait, as observed then
};

}  // namespace dsm::proto
