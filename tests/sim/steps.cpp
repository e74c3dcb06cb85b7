// Events into the protocol, and its actions out, in the order page.h gives. Also where most planted bugs are.
#include <bit>

#include "tests/sim/simulator.h"
#include "tests/sim/text.h"

namespace dsm::sim {

namespace {

// The page is the node's alone, and a store to it has to be seen: that is no gain, it has been the node's all the time.
bool is_clean(const proto::Page& page, proto::Place place) {
  return page.access == Access::kRead && !page.joined && page.seen == proto::exclusive_word(place.self, place.home);
}

}  // namespace

void Simulator::step(NodeId node, unsigned page, const proto::Event& event) {
  Copy& copy = model_.copy(node, page);
  const proto::Place place = model_.place(node, page);
  const Access before = copy.page.access;
  const bool was_clean = is_clean(copy.page, place);
  const bool fresh = event.kind == proto::EventKind::kFresh;
  copy.hint = copy.page.ahead || proto::is_ahead(event.kind) || fresh;
  copy.todo = proto::step(copy.page, place, event);
  if (copy.dead && copy.todo.map == Access::kWrite) {  // the program says what its bytes are from now on
    const std::uint64_t value = ++last_value_;
    model_.bytes(node, page) = model_.truth[page] = {value, value};
    for (unsigned half = 0; half < kObjectsPerPage; ++half) model_.history(page, half).changed(value, counts_.moves);
  }
  copy.dead = copy.page.fetched && (copy.dead || fresh);
  copy.voluntary = event.kind == proto::EventKind::kRelease || event.kind == proto::EventKind::kTransfer ||
                   event.kind == proto::EventKind::kClean;
  if (trace_ != nullptr) {
    trace("node {} page {}: {} => {}  [{}]", node, page, event_text(event, place), actions_text(copy.todo, place),
          page_text(copy.page, place));
  }
  if (event.kind == proto::EventKind::kMessage || event.kind == proto::EventKind::kFault) copy.looked = false;
  copy.await_use = copy.page.fresh && (copy.await_use || copy.todo.await_use);
  close_if_asked(node, page, copy);
  checker_.stepped(node, page);
  if (!allows(before, copy.page.access) && !was_clean) {
    ++counts_.gains;
    checker_.gained(node, page, copy.page.access);
  }
  if (!allows(before, copy.page.access)) checker_.backing(page);
  copy.next_piece = Piece::kDown;
  advance(copy);
  while (!model_.options.fine && copy.executing()) do_piece(node, page, copy);
  if (!copy.executing()) settle_lock(node, page, copy);
  settle_leaving(node, page);
  refresh(node, page);
}

void Simulator::move_agent(NodeId node, unsigned page) {
  Copy& copy = model_.copy(node, page);
  do_piece(node, page, copy);
  if (!copy.executing()) settle_lock(node, page, copy);
  settle_leaving(node, page);
  refresh(node, page);
}

bool Simulator::has_piece(const Copy& copy, Piece piece) const {
  switch (piece) {
    case Piece::kDown:
      return copy.todo.lower || copy.todo.unmap;
    case Piece::kChain:
      return copy.todo.has_chain();
    case Piece::kUp:
      return copy.todo.map != Access::kNone || copy.todo.raise;
    case Piece::kSend:
      return copy.todo.send_to != 0;
    case Piece::kWake:
      return copy.todo.wake;
    case Piece::kNone:
      return true;
  }
  return true;
}

void Simulator::advance(Copy& copy) {
  while (!has_piece(copy, copy.next_piece)) {
    copy.next_piece = static_cast<Piece>(static_cast<unsigned>(copy.next_piece) + 1);
  }
}

void Simulator::do_piece(NodeId node, unsigned page, Copy& copy) {
  switch (copy.next_piece) {
    case Piece::kDown:
      down(node, page, copy);
      break;
    case Piece::kChain:
      chain(node, page, copy);
      break;
    case Piece::kUp:
      up(node, page, copy);
      break;
    case Piece::kSend:
      send(node, page, copy);
      break;
    case Piece::kWake:
      give(node, page, copy);
      break;
    case Piece::kNone:
      return;
  }
  if (model_.options.fine) {
    constexpr const char* kPieces[] = {"lowers its access", "posts its chain", "raises its access", "sends", "wakes"};
    trace("node {} page {}: {}", node, page, kPieces[static_cast<std::size_t>(copy.next_piece)]);
  }
  copy.next_piece = static_cast<Piece>(static_cast<unsigned>(copy.next_piece) + 1);
  advance(copy);
}

void Simulator::down(NodeId node, unsigned page, Copy& copy) {
  checker_.lowering(node, page);
  if (copy.todo.lower && !mutated(Mutation::kSkipLower)) copy.view = Access::kRead;
  if (copy.todo.unmap && copy.view == Access::kObject) forget_copies(node, page);
  if (copy.todo.unmap && !mutated(Mutation::kSkipUnmap)) copy.view = Access::kNone;
  copy.closed = false;
  wake(node, page, ThreadState::kQueueing);
  copy.owed = copy.owed && somebody_waits(node, page);  // a hint may have given it up over another thread's head
}

// Posts the chain's operations, in the order of the fields.
void Simulator::chain(NodeId node, unsigned page, Copy& copy) {
  const proto::Actions& actions = copy.todo;
  Fifo<Op>& wire = this->wire(node, model_.homes[page].node);
  std::vector<Op> ops;
  const auto post = [&ops, page](OpKind kind, std::uint64_t operand = 0, std::uint64_t expected = 0) {
    ops.push_back({.kind = kind, .page = static_cast<std::uint8_t>(page), .operand = operand, .expected = expected});
  };
  const auto copy_page = [&post, &ops](OpKind kind) {
    post(kind);
    post(kind);
    ops.back().half = 1;
  };
  const bool early_read = (mutated(Mutation::kReadBeforeSwap) && actions.swap) ||
                          (mutated(Mutation::kReadBeforeLatch) && actions.read_latch);
  const bool late_add = mutated(Mutation::kEnlistLate) && actions.read_latch && !actions.swap;
  const bool forget = mutated(Mutation::kStayEnlisted) && !actions.expects_done;
  const bool late_write = mutated(Mutation::kLateWriteBack);

  if (actions.read_page && early_read) copy_page(OpKind::kReadHalf);
  if (actions.write_page && !late_write && !mutated(Mutation::kSkipWriteBack)) copy_page(OpKind::kWriteHalf);
  if (actions.waiters_add != 0 && !late_add && !forget) post(OpKind::kAdd, actions.waiters_add);
  if (actions.swap && mutated(Mutation::kSplitSwap)) {
    post(OpKind::kSwapRead, actions.desired, actions.expected);
    post(OpKind::kSwapWrite, actions.desired, actions.expected);
  } else if (actions.swap) {
    post(OpKind::kSwap, actions.desired, actions.expected);
  }
  if (actions.swap) {
    // A node that leaves the readers unasked opens the race as much as one that gives the page up whole.
    const bool left = proto::is_shared(actions.expected) && proto::is_shared(actions.desired) &&
                      proto::set_of(actions.desired) < proto::set_of(actions.expected);
    // So does one that changes a page nobody owns to another kind: who waits has been told, and only has to claim it.
    const bool changed = !proto::is_exclusive(actions.expected) && !proto::is_exclusive(actions.desired) &&
                         proto::mode_of(actions.expected) != proto::mode_of(actions.desired);
    ops.back().voluntary = copy.voluntary || left || changed;
  }
  if (actions.write_page && late_write) copy_page(OpKind::kWriteHalf);
  if (actions.read_latch && model_.options.split_latch) {
    post(OpKind::kReadWord);
    post(OpKind::kReadWaiters);
  } else if (actions.read_latch) {
    post(OpKind::kReadLatch);
  }
  if (late_add) post(OpKind::kAdd, actions.waiters_add);
  if (actions.read_page && !early_read && !mutated(Mutation::kStaleRead)) copy_page(OpKind::kReadHalf);

  if (actions.read_page) filled(node, page);
  if (actions.expects_done) {
    copy.in_flight = true;
    ops.back().last = true;
  }
  for (const Op& op : ops) wire.push(op);
  scheduler_.set(wire_actor(node, model_.homes[page].node), !wire.empty());
  if (mutated(Mutation::kMapEarly) && copy.page.phase == proto::Phase::kClaiming) {
    copy.view = copy.page.asked;
    wake(node, page, ThreadState::kSleeping);
  }
}

void Simulator::up(NodeId node, unsigned page, Copy& copy) {
  if (!mutated(Mutation::kMapEarly)) checker_.raising(node, page);
  if (copy.todo.map != Access::kNone) copy.view = copy.todo.map;
  if (copy.view == Access::kRead || copy.view == Access::kWrite) filled(node, page);
  if (copy.todo.raise) copy.view = Access::kWrite;
}

void Simulator::send(NodeId node, unsigned page, const Copy& copy) {
  const proto::Actions& actions = copy.todo;
  NodeSet to_all = actions.send_to;
  if (mutated(Mutation::kLoseLook) && actions.send_kind == proto::MessageKind::kLook) to_all &= ~to_all + 1;
  if (mutated(Mutation::kLoseDrop) && actions.send_kind == proto::MessageKind::kDrop) return;
  if (mutated(Mutation::kLoseNudge) && actions.send_kind == proto::MessageKind::kNudge) return;
  const Letter letter{.from = node,
                      .message = {.kind = actions.send_kind,
                                  .want = actions.send_want,
                                  .reserved = 0,
                                  .count = 1,
                                  .first = page,
                                  .readers = actions.send_readers,
                                  .borrowers = actions.send_borrowers}};
  for (; to_all != 0; to_all &= to_all - 1) {
    const auto to = static_cast<NodeId>(std::countr_zero(to_all));
    post(node, to, {.object = false, .letter = letter, .object_letter = {}});
    if (model_.options.duplicates && random_.percent(20)) late_[to].push(letter);
    refresh_mail(to);
  }
}

// The waiting threads may try again.
void Simulator::give(NodeId node, unsigned page, Copy& copy) {
  if (has_piece(copy, Piece::kUp) && !copy.hint) copy.owed = copy.owed || somebody_waits(node, page);
  if (mutated(Mutation::kLoseWake)) return;
  wake(node, page, ThreadState::kSleeping);
  wake(node, page, ThreadState::kQueueing);
}

void Simulator::wake(NodeId node, unsigned page, ThreadState state) {
  for (unsigned index = 0; index < threads_.size(); ++index) {
    Thread& thread = threads_[index];
    if (thread.node != node || thread.page != page || thread.state != state) continue;
    thread.state = ThreadState::kTrying;
    refresh_thread(index);
  }
}

void Simulator::end(NodeId node, unsigned page) {
  Copy& copy = model_.copy(node, page);
  copy.done_due = copy.in_flight = false;
  step(node, page, {.kind = proto::EventKind::kDone, .old = copy.old, .latch = copy.seen});
}

void Simulator::use(NodeId node, unsigned page) {
  Copy& copy = model_.copy(node, page);
  if (model_.is_lock(page)) return use_lock(node, page, copy);
  if (copy.page.access == Access::kObject && !nothing_standing(node, page)) return refresh(node, page);
  copy.await_use = false;
  const bool keeps = copy.borrows != 0 && !mutated(Mutation::kObjectOwnRaw);
  step(node, page, {.kind = proto::EventKind::kUsed, .keeps = keeps});
}

// What can move, after something about this node's side of the page has changed.
void Simulator::refresh(NodeId node, unsigned page) {
  const Copy& copy = model_.copy(node, page);
  const bool early = copy.page.access != Access::kObject && (model_.options.early_use || mutated(Mutation::kUseEarly));
  const bool borrowed = copy.held_by() != 0 && !mutated(Mutation::kObjectEarlyLeave);
  const bool used =
      model_.is_lock(page) ? lock_may_go(copy) : !borrowed && !giving_back(node, page) && (!copy.owed || early);
  scheduler_.set(page_actor(ActorKind::kAgent, node, page), copy.executing());
  scheduler_.set(page_actor(ActorKind::kEnd, node, page), copy.done_due && !copy.executing());
  scheduler_.set(page_actor(ActorKind::kUse, node, page), copy.await_use && used && !copy.locked());
  if (!rooms_.empty()) refresh_room(node);
  if (!model_.options.fine && !copy.serial) return;
  const unsigned first = node * model_.options.threads;
  for (unsigned index = first; index < first + model_.options.threads; ++index) refresh_thread(index);
  refresh_mail(node);
}

}  // namespace dsm::sim
