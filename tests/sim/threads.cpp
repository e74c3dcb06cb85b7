// The simulated program: threads that read, write, modify and give hints at random.
#include <algorithm>

#include "tests/sim/simulator.h"

namespace dsm::sim {

void Simulator::move_thread(unsigned index) {
  Thread& thread = threads_[index];
  switch (thread.state) {
    case ThreadState::kChoosing:
      choose(thread);
      break;
    case ThreadState::kTrying:
      try_access(thread);
      break;
    case ThreadState::kFaulting:
    case ThreadState::kHinting:
      fault_or_hint(thread);
      break;
    case ThreadState::kHolding:
      thread.intent == Intent::kBorrow ? work(thread) : hold(thread);
      break;
    case ThreadState::kSleeping:
    case ThreadState::kQueueing:
    case ThreadState::kForgetting:
    case ThreadState::kFinished:
      break;
  }
  refresh_thread(index);
}

void Simulator::refresh_thread(unsigned index) {
  const Thread& thread = threads_[index];
  bool can_move = thread.state == ThreadState::kChoosing || thread.state == ThreadState::kTrying ||
                  thread.state == ThreadState::kHolding;
  if (thread.state == ThreadState::kFaulting || thread.state == ThreadState::kHinting) {
    can_move = !model_.copy(thread.node, thread.page).locked();
    const bool fetches = thread.intent != Intent::kBorrow && thread.intent < Intent::kKeepReading;
    if (fetches && lacks_room(thread.node, thread.page)) can_move = false;
  }
  if (thread.state == ThreadState::kHolding && thread.intent == Intent::kBorrow) {
    const Work& work = works_[index];
    can_move = work.done_due || (!work.flying && work.borrow.stage != proto::BorrowStage::kQueued);
  }
  scheduler_.set(thread_actor(index), can_move);
}

// Somebody has asked for no more than the node has now, and has not had it yet.
bool Simulator::somebody_waits(NodeId node, unsigned page) const {
  const Access view = model_.copy(node, page).view;
  return std::any_of(threads_.begin(), threads_.end(), [=](const Thread& thread) {
    const bool waits = thread.state == ThreadState::kTrying || thread.state == ThreadState::kFaulting ||
                       thread.state == ThreadState::kSleeping || thread.state == ThreadState::kQueueing;
    return thread.node == node && thread.page == page && waits && thread.asked && allows(view, needed(thread));
  });
}

Access Simulator::needed(const Thread& thread) {
  if (thread.intent == Intent::kBorrow && !thread.touching) return Access::kObject;
  return thread.intent == Intent::kRead ? Access::kRead : Access::kWrite;
}

void Simulator::choose(Thread& thread) {
  if (!generating_ || thread.left == 0) {
    thread.state = ThreadState::kFinished;
    return;
  }
  --thread.left;
  if (model_.options.strays && random_.percent(5)) send_stray();
  const Options::Weights& weights = model_.options.weights;
  thread.page = random_.below(model_.options.pages);
  unsigned draw = random_.below(model_.options.weight_sum());
  unsigned intent = 0;
  for (const unsigned weight :
       {weights.read, weights.write, weights.modify, weights.borrow, weights.prefetch, weights.ahead, weights.fresh,
        weights.keep_reading, weights.release, weights.transfer}) {
    if (draw < weight) break;
    draw -= weight;
    ++intent;
  }
  thread.intent = static_cast<Intent>(intent);
  thread.asked = false;
  if (!model_.homes[thread.page].has_bytes && thread.intent == Intent::kBorrow) thread.intent = Intent::kWrite;
  if (thread.intent == Intent::kBorrow) {
    thread.object = random_.below(kObjectsPerPage);
    thread.change = random_.percent(50);
    const bool give = thread.change && weights.transfer != 0 && random_.percent(model_.options.lives != 0 ? 60 : 30);
    thread.to = give ? static_cast<NodeId>(random_.below(model_.options.nodes)) : kNoNode;
    thread.nests = model_.options.nested != 0 && random_.percent(model_.options.nested);
    thread.inside = may_touch(thread) && random_.percent(model_.options.inside);
    if (!thread.nests && !begin_use(thread)) return;
  }
  if (model_.is_lock(thread.page) && thread.intent > Intent::kModify) thread.intent = Intent::kRead;
  const bool access = thread.intent <= Intent::kBorrow;
  thread.state = access ? ThreadState::kTrying : ThreadState::kHinting;
}

void Simulator::try_access(Thread& thread) {
  Copy& copy = model_.copy(thread.node, thread.page);
  if (model_.is_lock(thread.page)) return try_lock(thread, copy);
  if (thread.regains && copy.view == Access::kObject) {
    if (!copy.page.fresh) {  // it is about to go plainly to another thread
      thread.state = ThreadState::kQueueing;
      return;
    }
    thread.regains = thread.raw_now = copy.owed = false;
    --copy.touches;
    thread.state = ThreadState::kHolding;
    return refresh(thread.node, thread.page);
  }
  if (thread.intent == Intent::kBorrow && !thread.touching && !thread.regains) return try_borrow(thread, copy);
  if (!allows(copy.view, needed(thread))) {
    thread.state = ThreadState::kFaulting;
    return;
  }
  thread.state = thread.touching ? ThreadState::kHolding : ThreadState::kChoosing;
  if (copy.owed) {
    copy.owed = false;
    refresh(thread.node, thread.page);
  }
  access(thread, copy);
  thread.touching = false;
}

void Simulator::access(Thread& thread, Copy& copy) {
  ++counts_.accesses;
  came_back(thread.node, thread.page);
  Bytes& bytes = model_.bytes(thread.node, thread.page);
  if (thread.intent != Intent::kWrite) {
    Bytes seen = bytes;  // the program does not look at what a thread of the node is at work on
    for (unsigned half = 0; half < kObjectsPerPage; ++half) {
      if (borrowed_here(thread.node, thread.page, half)) seen[half] = model_.truth[thread.page][half];
    }
    checker_.read(thread.node, thread.page, seen);
  }
  if (thread.intent == Intent::kRead) {
    trace("node {} reads page {}", thread.node, thread.page);
    return;
  }
  const unsigned only = thread.intent == Intent::kWrite ? random_.below(2) : 2;  // 2: both halves
  const std::uint64_t value = ++last_value_;
  for (unsigned half = 0; half < 2; ++half) {
    if ((only != 2 && only != half) || !model_.lives_now(thread.page, half)) continue;
    if (borrowed_here(thread.node, thread.page, half)) continue;
    bytes[half] = model_.truth[thread.page][half] = value;
    model_.history(thread.page, half).changed(value, counts_.moves);
  }
  trace("node {} {} page {}: {} ({} view)", thread.node, only == 2 ? "modifies" : "writes", thread.page, value,
        static_cast<int>(copy.view));
}

void Simulator::fault_or_hint(Thread& thread) {
  const bool nested =
      !thread.touching && (Simulator::nested(thread) || thread.regains) && !mutated(Mutation::kObjectNoNesting);
  proto::Event event{.kind = proto::EventKind::kFault, .access = needed(thread), .nested = nested};
  switch (thread.intent) {
    case Intent::kPrefetch:
    case Intent::kAhead:
      event.kind = thread.intent == Intent::kAhead ? proto::EventKind::kAhead : proto::EventKind::kPrefetch;
      event.access = random_.percent(50) ? Access::kRead : Access::kWrite;
      break;
    case Intent::kFresh:
      event.kind = proto::EventKind::kFresh;
      break;
    case Intent::kKeepReading:
      event = {.kind = proto::EventKind::kRelease, .access = Access::kRead};
      break;
    case Intent::kRelease:
      event.kind = proto::EventKind::kRelease;
      break;
    case Intent::kTransfer:
      event = {.kind = proto::EventKind::kTransfer, .node = static_cast<NodeId>(random_.below(model_.options.nodes))};
      break;
    case Intent::kClean:
      event.kind = proto::EventKind::kClean;
      break;
    case Intent::kRead:
    case Intent::kWrite:
    case Intent::kModify:
    case Intent::kBorrow:
      break;
  }
  if (thread.touching && !thread.raw_now) {
    thread.touched = thread.raw_now = true;
    ++model_.copy(thread.node, thread.page).touches;
  }
  event.keeps = event.kind != proto::EventKind::kFault && model_.copy(thread.node, thread.page).borrows != 0;
  thread.asked = thread.state == ThreadState::kFaulting;
  thread.state = thread.asked ? ThreadState::kSleeping : ThreadState::kChoosing;
  step(thread.node, thread.page, event);
}

// A message that nobody has reason to send: all of them are mere hints.
void Simulator::send_stray() {
  const NodeSet all = node_bit(static_cast<NodeId>(model_.options.nodes)) - 1;
  const auto to = static_cast<NodeId>(random_.below(model_.options.nodes));
  Letter letter{.from = static_cast<NodeId>(random_.below(model_.options.nodes)), .message = {}};
  letter.message.kind = static_cast<proto::MessageKind>(random_.below(3));
  letter.message.want = static_cast<Access>(random_.below(4));
  letter.message.first = random_.below(model_.options.pages);
  letter.message.count = 1;
  letter.message.readers = letter.message.kind == proto::MessageKind::kNudge ? 0 : random_.next() & all;
  letter.message.borrowers = letter.message.kind == proto::MessageKind::kNudge ? 0 : random_.next() & all;
  late_[to].push(letter);
  refresh_mail(to);
}

}  // namespace dsm::sim
