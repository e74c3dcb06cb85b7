// Objects between nodes: chains on their headers and bytes, the home's queue, giving back what a node keeps.
#include <utility>

#include "tests/sim/simulator.h"
#include "tests/sim/text.h"

namespace dsm::sim {

using proto::BorrowActions;
using proto::BorrowEvent;
using proto::BorrowEventKind;
using proto::Outcome;
using proto::QueueEventKind;

// --- what a borrow asks for -----------------------------------------------------------------------------------------

void Simulator::act(NodeId node, unsigned page, unsigned object, unsigned who, Work& work, const BorrowActions& todo) {
  const NodeId home = model_.homes[page].node;
  if (todo.has_chain()) {
    fly(node, page, object, who, todo);
    work.flying = true;
  }
  const auto p = static_cast<std::uint8_t>(page), o = static_cast<std::uint8_t>(object);
  if (todo.tell_freed && !mutated(Mutation::kObjectLoseFreed)) {
    write_object(node, home, {ObjectMessage::kFreed, node, p, o, who, {}, 0});
  }
  if (!todo.ask) return;
  write_object(node, home, {ObjectMessage::kAsk, node, p, o, who, todo.turn, 0});
  if (todo.turn.wish != proto::Wish::kWriteBack) await_grant(who);
}

// Posts the chain's operations, in the order of the fields.
void Simulator::fly(NodeId node, unsigned page, unsigned object, unsigned who, const BorrowActions& todo) {
  std::vector<Op> ops;
  const auto post = [&](OpKind kind, std::uint64_t operand = 0, std::uint64_t expected = 0) {
    ops.push_back({.kind = kind,
                   .page = static_cast<std::uint8_t>(page),
                   .half = static_cast<std::uint8_t>(object),
                   .operand = operand,
                   .expected = expected,
                   .who = who});
  };
  const auto bytes = [&](OpKind first, OpKind second) {
    post(first);
    post(second);
  };
  std::uint64_t last = todo.add_last;
  const bool late = mutated(Mutation::kObjectLateBytes) && todo.write_bytes;
  const bool early = mutated(Mutation::kObjectEarlyRead) && todo.read_bytes;
  if (early) bytes(OpKind::kReadWordA, OpKind::kReadWordB);
  if (todo.read_before) post(OpKind::kHeaderBefore);
  if (todo.swap) post(OpKind::kHeaderSwap, todo.desired, todo.expected);
  if (todo.add_first != 0 && !mutated(Mutation::kObjectSkipMark)) post(OpKind::kHeaderAdd, todo.add_first);
  if (todo.add_first != 0 && mutated(Mutation::kObjectSkipMark)) last += todo.add_first;
  if (todo.write_bytes && !late) bytes(OpKind::kWriteWordA, OpKind::kWriteWordB);
  if (todo.read_bytes && !early) bytes(OpKind::kReadWordA, OpKind::kReadWordB);
  if (todo.read_after) post(OpKind::kHeaderAfter);
  if (mutated(Mutation::kObjectNoVersion) && todo.write_bytes) last -= proto::kOneVersion;
  if (todo.add_last != 0) post(OpKind::kHeaderLast, last);
  if (late) bytes(OpKind::kWriteWordA, OpKind::kWriteWordB);
  ops.back().last = true;
  Fifo<Op>& wire = this->wire(node, model_.homes[page].node);
  for (const Op& op : ops) wire.push(op);
  scheduler_.set(wire_actor(node, model_.homes[page].node), true);
}

Work& Simulator::work_of(const Op& op, NodeId node) {
  return op.who == kGiver ? model_.cached(node, op.page, op.half).giving : works_[op.who];
}

void Simulator::execute_object(NodeId node, const Op& op, Home& home) {
  Object& object = model_.object(op.page, op.half);
  Work& work = work_of(op, node);
  BorrowEvent& results = work.results;
  switch (op.kind) {
    case OpKind::kHeaderBefore:
      results.before = object.header;
      break;
    case OpKind::kHeaderAfter:
      results.after = object.header;
      break;
    case OpKind::kHeaderSwap:
      results.old = mutated(Mutation::kObjectBlindSwap) ? op.expected : object.header;
      if (results.old == op.expected) object.header = op.operand;
      checker_.changed_header(op.page, op.half);
      break;
    case OpKind::kHeaderAdd:
      object.header += op.operand;
      checker_.changed_header(op.page, op.half);
      break;
    case OpKind::kHeaderLast:
      results.settled = object.header;
      object.header += op.operand;
      checker_.changed_header(op.page, op.half);
      break;
    case OpKind::kReadWordA:
      work.bytes.a = home.bytes[op.half].a;
      break;
    case OpKind::kReadWordB:
      work.bytes.b = home.bytes[op.half].b;
      break;
    case OpKind::kWriteWordA:
      home.bytes[op.half].a = work.bytes.a;
      break;
    case OpKind::kWriteWordB:
      home.bytes[op.half].b = work.bytes.b;
      break;
    default:
      break;
  }
}

// The last operation of a chain on an object has been done.
void Simulator::ended_chain(NodeId node, const Op& op) {
  Work& work = work_of(op, node);
  work.results.kind = BorrowEventKind::kDone;
  work.flying = false;
  if (op.who == kGiver) return step_giving(node, op.page, op.half, work.results);
  work.done_due = true;
  refresh_thread(op.who);
}

// --- messages and the home's queue ----------------------------------------------------------------------------------

void Simulator::write_object(NodeId from, NodeId to, const ObjectLetter& letter) {
  post(from, to, {.object = true, .letter = {}, .object_letter = letter});
}

void Simulator::deliver_object(NodeId from, NodeId to) {
  const ObjectLetter letter = object_mail(from, to).pop();
  scheduler_.set(object_mail_actor(from, to), !object_mail(from, to).empty());
  made_room(from, to);
  Object& object = model_.object(letter.page, letter.object);
  constexpr const char* kNames[] = {"ask", "grant", "freed", "recall", "free", "forget", "forgotten"};
  trace("node {} gets {} from {}: object {} of page {}, thread {}", to, kNames[static_cast<std::size_t>(letter.kind)],
        from, letter.object, letter.page, letter.thread);
  switch (letter.kind) {
    case ObjectMessage::kAsk:
      object.turns.push_back(letter.turn);
      object.askers.push_back({letter.from, letter.thread});
      return step_queue(letter.page, letter.object, {QueueEventKind::kAsked});
    case ObjectMessage::kFreed:
      return step_queue(letter.page, letter.object, {QueueEventKind::kFreed});
    case ObjectMessage::kGrant:
      return granted(letter.thread, letter.word);
    case ObjectMessage::kRecall: {
      Cached& cached = model_.cached(to, letter.page, letter.object);
      if (cached.holder == kGiver) return;
      if (cached.standing && cached.working) {
        cached.recalled = true;
      } else {
        give_back(to, letter.page, letter.object);  // a thread may wait in the home's queue for just that
      }
      return;
    }
    case ObjectMessage::kFree:
      return scheduler_.set(life_actor(letter.page, letter.object), true);
    case ObjectMessage::kForget:
      return forget(to, letter);
    case ObjectMessage::kForgotten:
      return forgotten(letter);
  }
}

void Simulator::step_queue(unsigned page, unsigned which, proto::QueueEvent event) {
  Object& object = model_.object(page, which);
  for (;;) {
    const bool ended = event.kind == QueueEventKind::kDone;
    if (ended && mutated(Mutation::kQueueForgets)) object.queue.again = false;
    const proto::QueueActions todo = proto::step(object.queue, object.turns, event);
    if (todo.read || todo.swap) {
      object.todo = todo;
      scheduler_.set(queue_actor(page, which), true);
      return;
    }
    const NodeId home = model_.homes[page].node;
    const auto p = static_cast<std::uint8_t>(page), o = static_cast<std::uint8_t>(which);
    if (todo.recall != kNoNode && !mutated(Mutation::kObjectLoseRecall)) {
      write_object(home, todo.recall, {ObjectMessage::kRecall, home, p, o, 0, {}, 0});
    }
    if (!todo.grant) return;
    const Object::Asker asker = object.askers[todo.index];
    if (!mutated(Mutation::kObjectLoseGrant)) {
      write_object(home, asker.node, {ObjectMessage::kGrant, home, p, o, asker.thread, {}, todo.word});
    }
    object.turns.erase(object.turns.begin() + todo.index);
    object.askers.erase(object.askers.begin() + todo.index);
    event = {QueueEventKind::kNext};
  }
}

// The queue's operation on the header.
void Simulator::move_queue(unsigned page, unsigned which) {
  Object& object = model_.object(page, which);
  if (mutated(Mutation::kLifeHoldsQueue) && awaits_forgetting(model_.homes[page].node)) return;
  if (!object.answered) {
    object.answer = object.header;
    if (object.todo.swap && object.answer == object.todo.expected) object.header = object.todo.desired;
    trace("    the queue of object {} of page {} finds '{}' and leaves '{}'", which, page, header_text(object.answer),
          header_text(object.header));
    object.answered = true;
    if (model_.options.late_answers) return;
  }
  object.answered = false;
  scheduler_.set(queue_actor(page, which), false);
  step_queue(page, which, {QueueEventKind::kDone, object.answer});
}

// --- giving back ----------------------------------------------------------------------------------------------------

void Simulator::give_back(NodeId node, unsigned page, unsigned object) {
  Cached& cached = model_.cached(node, page, object);
  trace("node {} gives object {} of page {} back{}", node, object, page,
        cached.standing ? "" : ", which it did not know of");
  cached.holder_then = std::exchange(cached.holder, kGiver);
  cached.recalled = false;
  cached.giving = Work{};
  cached.giving.bytes = cached.bytes;
  step_giving(node, page, object,
              {.kind = BorrowEventKind::kGiveBack,
               .have = cached.standing,
               .changed = cached.standing && cached.dirty,
               .copy = cached.standing ? cached.word : 0});
}

void Simulator::step_giving(NodeId node, unsigned page, unsigned object, const BorrowEvent& event) {
  Cached& cached = model_.cached(node, page, object);
  const BorrowActions todo = proto::step(cached.giving.borrow, object_place(node, page), event);
  act(node, page, object, kGiver, cached.giving, todo);
  if (todo.outcome == Outcome::kNone) return;
  if (cached.standing && todo.outcome == Outcome::kReleased) cached.word = proto::at_rest(cached.giving.borrow.word);
  if (cached.standing && todo.outcome == Outcome::kDropped) cached.have = false;
  cached.standing = cached.dirty = false;
  cached.holder = cached.holder_then;
  for (const ObjectLetter& letter : std::exchange(cached.forgets, {})) forget(node, letter);
  wake(node, page, ThreadState::kQueueing);
  refresh(node, page);
}

bool Simulator::giving_back(NodeId node, unsigned page) const {
  for (unsigned object = 0; object < kObjectsPerPage; ++object) {
    if (model_.cached(node, page, object).holder == kGiver) return true;
  }
  return false;
}

// Before a page leaves object mode what its node keeps of it goes home. A thread may be about to begin a borrow: it
// finds that the object stands no more. True: nothing is left to go.
bool Simulator::nothing_standing(NodeId node, unsigned page) {
  for (unsigned object = 0; object < kObjectsPerPage; ++object) {
    const Cached& cached = model_.cached(node, page, object);
    if (cached.standing && cached.holder != kGiver && !mutated(Mutation::kObjectKeepStanding)) {
      give_back(node, page, object);
    }
  }
  return !giving_back(node, page);
}

void Simulator::forget_copies(NodeId node, unsigned page) {
  if (mutated(Mutation::kObjectKeepCopies)) return;
  for (unsigned object = 0; object < kObjectsPerPage; ++object) {
    Cached& cached = model_.cached(node, page, object);
    cached.have = cached.standing = cached.dirty = false;
  }
  for (Thread& thread : threads_) thread.lost |= thread.node == node && thread.page == page;
}

}  // namespace dsm::sim
