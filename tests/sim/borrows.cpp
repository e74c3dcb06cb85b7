// The simulated program's borrows: the threads, the node's cache and what a node keeps by transfer, as the runtime has
// it, around the shipped proto::Borrow.
#include <algorithm>
#include <utility>

#include "tests/sim/simulator.h"

namespace dsm::sim {

using proto::BorrowActions;
using proto::BorrowEvent;
using proto::BorrowEventKind;
using proto::BorrowStage;
using proto::Outcome;
using proto::Wish;

proto::ObjectPlace Simulator::object_place(NodeId node, unsigned page) const {
  return {node, model_.homes[page].node, model_.options.small_objects, false};
}
bool Simulator::in_place(const Thread& thread) const {
  return thread.node == model_.homes[thread.page].node && (thread.change || !model_.options.small_objects);
}

bool Simulator::borrows(unsigned index) const {
  const Thread& at = threads_[index];
  const bool works = at.state == ThreadState::kHolding || at.awaits || at.touching || at.regains;
  return at.intent == Intent::kBorrow && works;
}

// --- a borrow begins ------------------------------------------------------------------------------------------------

void Simulator::try_borrow(Thread& thread, Copy& copy) {
  const unsigned index = static_cast<unsigned>(&thread - threads_.data());
  Cached& cached = model_.cached(thread.node, thread.page, thread.object);
  const bool elsewhere = thread.change && !thread.nests && thread.node != model_.homes[thread.page].node;
  if (elsewhere && cached.holder != kNobodyHolds && cached.holder != index) {  // who may need the page
    trace("node {} thread {} waits for its turn on object {} of page {} behind {}", thread.node, index, thread.object,
          thread.page, cached.holder == kGiver ? "giving it back" : fmt::format("thread {}", cached.holder));
    thread.state = ThreadState::kQueueing;
    thread.asked = false;  // for the page
    copy.owed = copy.owed && somebody_waits(thread.node, thread.page);
    return refresh(thread.node, thread.page);
  }
  if (!thread.pinned) {
    if (copy.view != Access::kObject) {
      thread.state = ThreadState::kFaulting;
      return;
    }
    if (!copy.page.fresh || (copy.closed && !nested(thread) && !(copy.owed && thread.asked))) {
      thread.state = ThreadState::kQueueing;
      return;
    }
    copy.owed = false;
    ++copy.borrows;
    thread.pinned = true;
  }
  if (thread.awaits) {
    thread.awaits = false;
    thread.state = ThreadState::kHolding;
    refresh(thread.node, thread.page);
    const BorrowEvent event{.kind = BorrowEventKind::kGranted, .have = !thread.lost, .word = thread.granted};
    return step_borrow(index, event);
  }
  if (thread.nests) return borrow_another(thread);
  if (elsewhere) cached.holder = index;
  ++counts_.accesses;
  thread.holds = random_.moves(6);
  thread.state = ThreadState::kHolding;
  trace("node {} thread {} borrows object {} of page {}{}", thread.node, index, thread.object, thread.page,
        thread.change ? " to change it" : "");
  refresh(thread.node, thread.page);
  begin_borrow(index);
}

// The thread has a page for an object of which nobody else knows, as one that is being moved, and goes on to another
// page's, in whatever order.
void Simulator::borrow_another(Thread& thread) {
  trace("node {} thread {} holds page {} around another borrow", thread.node, &thread - threads_.data(), thread.page);
  thread.nests = thread.pinned = false;
  thread.outer = thread.page;
  thread.page = (thread.page + 1 + random_.below(model_.options.pages - 1)) % model_.options.pages;
  thread.asked = false;
  thread.inside = thread.inside && may_touch(thread);
  thread.state = ThreadState::kTrying;
  if (!model_.homes[thread.page].has_bytes || !begin_use(thread)) {
    end_outer(thread);
    thread.state = ThreadState::kChoosing;
  } else {
    refresh(thread.node, *thread.outer);
  }
}

void Simulator::end_outer(Thread& thread) {
  if (!thread.outer) return;
  const unsigned page = *std::exchange(thread.outer, std::nullopt);
  --model_.copy(thread.node, page).borrows;
  trace("node {} thread {} lets page {} go", thread.node, &thread - threads_.data(), page);
  refresh(thread.node, page);
}

// The thread waits in the home's queue to begin. It holds no page meanwhile: whoever has the object may need it.
void Simulator::await_grant(unsigned index) {
  Thread& thread = threads_[index];
  thread.awaits = true;
  thread.pinned = thread.lost = thread.asked = false;
  --model_.copy(thread.node, thread.page).borrows;
  refresh(thread.node, thread.page);
}

void Simulator::granted(unsigned index, proto::Header word) {
  Thread& thread = threads_[index];
  if (!thread.awaits) return step_borrow(index, {.kind = BorrowEventKind::kGranted, .have = true, .word = word});
  thread.granted = word;
  thread.state = ThreadState::kTrying;
  refresh_thread(index);
}

void Simulator::begin_borrow(unsigned index) {
  Thread& thread = threads_[index];
  Work& work = works_[index];
  Cached& cached = model_.cached(thread.node, thread.page, thread.object);
  work = Work{};
  work.began = counts_.moves;
  const bool here = thread.node == model_.homes[thread.page].node;
  const bool have = !here && cached.have;
  if (have) work.bytes = cached.bytes;
  cached.working = cached.working || (have && thread.change && cached.standing);
  const Life& life = model_.life(thread.page, thread.object);
  const bool by_colour = have && life.owned && !thread.change && proto::colour_of(cached.word) == life.colour;
  if (by_colour || (have && (cached.standing || (!thread.change && mutated(Mutation::kObjectSkipValidate))))) {
    work.borrow.wish = thread.change ? Wish::kWrite : Wish::kRead;
    return thread.change ? found_value(index) : saw_value(index);
  }
  step_borrow(index, {.kind = BorrowEventKind::kBorrow,
                      .wish = thread.change ? Wish::kWrite : Wish::kRead,
                      .have = have,
                      .copy = have ? cached.word : 0,
                      .knows = life.owned,
                      .known = proto::Header{life.colour} << proto::kVersionShift});
}

// A borrow's or giver's next step; `index` is the thread's, or beyond them the giver's.
void Simulator::step_borrow(unsigned index, const BorrowEvent& event) {
  Thread& thread = threads_[index];
  Work& work = works_[index];
  const BorrowActions todo = proto::step(work.borrow, object_place(thread.node, thread.page), event);
  act(thread.node, thread.page, thread.object, index, work, todo);
  if (todo.outcome != Outcome::kNone) ended_step(index, todo.outcome);
  refresh_thread(index);
}

void Simulator::ended_step(unsigned index, Outcome outcome) {
  Thread& thread = threads_[index];
  Work& work = works_[index];
  Cached& cached = model_.cached(thread.node, thread.page, thread.object);
  switch (outcome) {
    case Outcome::kHit:
      work.bytes = cached.bytes;
      return saw_value(index);
    case Outcome::kSnapshot: {
      const bool newer =
          cached.have && (cached.standing || proto::version_of(cached.word) > proto::version_of(work.borrow.word));
      if (!newer && !work.worthless && thread.node != model_.homes[thread.page].node)
        keep(cached, work, work.borrow.word);
      return saw_value(index);
    }
    case Outcome::kMarked:
      work.bytes = model_.homes[thread.page].bytes[thread.object];
      return saw_value(index);
    case Outcome::kStanding:
      if (!stands(thread, work.borrow.word)) return begin_borrow(index);  // it has been called back meanwhile
      if (proto::version_of(work.borrow.copy) == proto::version_of(cached.word) && cached.have)
        work.bytes = cached.bytes;
      keep(cached, work, work.borrow.word);
      cached.standing = cached.working = true;
      return found_value(index);
    case Outcome::kLocked:
      if (in_place(thread)) work.bytes = model_.homes[thread.page].bytes[thread.object];
      return found_value(index);
    case Outcome::kReleased:
      return released(index);
    case Outcome::kNone:
    case Outcome::kDropped:
      return;
  }
}

// Whether what the thread's node has found to be its own, standing, is so still.
bool Simulator::stands(const Thread& thread, proto::Header word) const {
  const proto::Header now = model_.object(thread.page, thread.object).header;
  return proto::is_held(now, proto::Hold::kStanding, thread.node) &&
         proto::version_of(now) == proto::version_of(word) &&
         model_.cached(thread.node, thread.page, thread.object).holder != kGiver;
}

void Simulator::keep(Cached& cached, const Work& work, proto::Header word) {
  cached.have = true;
  cached.word = proto::at_rest(word);
  cached.bytes = work.bytes;
}

// --- what it sees ---------------------------------------------------------------------------------------------------

void Simulator::saw_value(unsigned index) {
  const Thread& thread = threads_[index];
  const Work& work = works_[index];
  trace("node {} thread {} sees {}/{} in object {} of page {}", thread.node, index, work.bytes.a, work.bytes.b,
        thread.object, thread.page);
  checker_.saw(thread.node, thread.page, thread.object, work.bytes, work.began, counts_.moves);
  model_.history(thread.page, thread.object).seen(work.bytes.a, counts_.moves);
}

void Simulator::found_value(unsigned index) {
  const Thread& thread = threads_[index];
  trace("node {} thread {} has object {} of page {} to change: {}/{}", thread.node, index, thread.object, thread.page,
        works_[index].bytes.a, works_[index].bytes.b);
  if (!model_.lives_now(thread.page, thread.object)) return;  // whatever is in a new block
  checker_.found(thread.node, thread.page, thread.object, works_[index].bytes);
}

// --- what it does ---------------------------------------------------------------------------------------------------

// The thread moves within its borrow.
void Simulator::work(Thread& thread) {
  const unsigned index = static_cast<unsigned>(&thread - threads_.data());
  Work& work = works_[index];
  if (work.done_due) {
    work.done_due = false;
    return step_borrow(index, work.results);
  }
  if (std::exchange(thread.inside, false) && !model_.cached(thread.node, thread.page, thread.object).standing) {
    return touch(index);
  }
  if (thread.holds > 0) {
    --thread.holds;
    if (work.borrow.stage == BorrowStage::kHeld && in_place(thread) && !thread.change) {
      checker_.stands(thread.node, thread.page, thread.object, work.bytes);
    }
    return;
  }
  if (thread.change && work.pending == 0) return change(index);
  if (thread.raw_now && !in_place(thread)) return regain(index);
  release(index);
}

bool Simulator::may_touch(const Thread& thread) const {
  const bool one = thread.node == static_cast<NodeId>(model_.options.seed % model_.options.nodes) && thread.page == 0;
  return model_.options.inside != 0 && thread.change && one;
}

// The thread touches the page plainly, beside its object. What it has borrowed is not to be kept: its page is left.
void Simulator::touch(unsigned index) {
  Thread& thread = threads_[index];
  trace("node {} thread {} touches page {} plainly within its borrow", thread.node, index, thread.page);
  thread.touching = true;
  thread.to = kNoNode;
  works_[index].worthless = true;
  thread.state = ThreadState::kTrying;
}

// What it has changed goes home as an object, so its page has to be here for that again.
void Simulator::regain(unsigned index) {
  Thread& thread = threads_[index];
  thread.regains = true;
  thread.state = ThreadState::kTrying;
}

// A thread of the node has the object to change it, and the page is the node's plainly.
bool Simulator::borrowed_here(NodeId node, unsigned page, unsigned object) const {
  return std::any_of(threads_.begin(), threads_.end(), [=](const Thread& thread) {
    return thread.touched && thread.node == node && thread.page == page && thread.object == object;
  });
}

// A new value: in place word by word, else in the working copy.
void Simulator::change(unsigned index) {
  Thread& thread = threads_[index];
  Work& work = works_[index];
  History& history = model_.history(thread.page, thread.object);
  if (!in_place(thread)) {
    work.pending = ++last_value_;
    work.bytes = work.pending;
    return;
  }
  Half& bytes = model_.homes[thread.page].bytes[thread.object];
  if (bytes.a == work.bytes.a) {
    bytes.a = ++last_value_;
    history.changing(last_value_, counts_.moves);
    thread.holds = random_.moves(3);
    return;
  }
  bytes.b = work.pending = bytes.a;
}

void Simulator::release(unsigned index) {
  Thread& thread = threads_[index];
  Work& work = works_[index];
  Cached& cached = model_.cached(thread.node, thread.page, thread.object);
  const NodeId home = model_.homes[thread.page].node;
  if (!thread.change && work.borrow.stage != BorrowStage::kHeld) return end_borrow(index);
  if (thread.change && thread.node != home && cached.standing) {
    keep(cached, work, cached.word);
    cached.dirty = true;
    model_.history(thread.page, thread.object).changed(work.pending, counts_.moves);
    model_.truth[thread.page][thread.object] = work.pending;
    cached.recalled = cached.recalled || (thread.to != kNoNode && thread.to != thread.node);
    return end_borrow(index);
  }
  if (thread.change && thread.node != home) {
    model_.history(thread.page, thread.object).changing(work.pending, counts_.moves);
  }
  if (thread.change) model_.truth[thread.page][thread.object] = work.pending;
  const NodeId to = thread.change && thread.to != home ? thread.to : kNoNode;
  step_borrow(index, {.kind = BorrowEventKind::kRelease, .changed = thread.change, .to = to});
}

void Simulator::released(unsigned index) {
  Thread& thread = threads_[index];
  Work& work = works_[index];
  if (thread.change) {
    model_.history(thread.page, thread.object).settled(work.pending, counts_.moves);
    Cached& cached = model_.cached(thread.node, thread.page, thread.object);
    if (thread.node != model_.homes[thread.page].node) {
      if (!work.worthless || thread.to == thread.node) keep(cached, work, work.borrow.word);
      cached.standing = thread.to == thread.node && stands(thread, work.borrow.word);
    }
  }
  end_borrow(index);
}

void Simulator::end_borrow(unsigned index) {
  Thread& thread = threads_[index];
  Copy& copy = model_.copy(thread.node, thread.page);
  --copy.borrows;
  if (std::exchange(thread.raw_now, false)) --copy.touches;
  thread.touched = false;
  thread.pinned = false;
  trace("node {} thread {} ends its borrow ({} borrows in page {})", thread.node, index, copy.borrows, thread.page);
  thread.state = ThreadState::kChoosing;
  Cached& cached = model_.cached(thread.node, thread.page, thread.object);
  if (cached.holder == kGiver && cached.holder_then == index) cached.holder_then = kNobodyHolds;
  if (cached.holder == index) {
    cached.holder = kNobodyHolds;
    cached.working = false;
    if (cached.recalled) give_back(thread.node, thread.page, thread.object);
    wake(thread.node, thread.page, ThreadState::kQueueing);
  }
  refresh(thread.node, thread.page);
  end_use(index);
  end_outer(thread);
}

// Work goes on after all: new borrows may begin. But if the protocol asks whether the page is still in use, none do.
void Simulator::close_if_asked(NodeId node, unsigned page, Copy& copy) {
  if (copy.todo.reopen) {
    copy.closed = false;
    wake(node, page, ThreadState::kQueueing);
  }
  if (copy.page.access == Access::kObject && copy.await_use) copy.closed = true;
}

}  // namespace dsm::sim
