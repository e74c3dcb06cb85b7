// One-sided operations and messages under way. Each operation is one atomic step at the home; pages are copied in
// halves.
#include <bit>

#include "tests/sim/simulator.h"
#include "tests/sim/text.h"

namespace dsm::sim {

void Simulator::move_wire(NodeId node, NodeId home_node) {
  Fifo<Op>& wire = this->wire(node, home_node);
  const Op op = wire.pop();
  scheduler_.set(wire_actor(node, home_node), !wire.empty());
  if (contains(ended_, home_node) && model_.options.memory_dies) return end_node(node, home_node);
  Copy& copy = model_.copy(node, op.page);
  Home& home = model_.homes[op.page];
  execute(node, op, home, copy);
  if (trace_ != nullptr) trace_op(node, op, home);
  if (op.last && op.kind >= OpKind::kHeaderBefore) ended_chain(node, op);
  if (!op.last || op.kind >= OpKind::kHeaderBefore) return;
  copy.done_due = true;
  refresh(node, op.page);
}

void Simulator::trace_op(NodeId node, const Op& op, const Home& home) {
  constexpr const char* kNames[] = {"writes its half",
                                    "adds to the waiters",
                                    "swaps the word",
                                    "swaps (reads)",
                                    "swaps (writes)",
                                    "reads the word",
                                    "reads the waiters",
                                    "reads the latch",
                                    "reads its half",
                                    "reads the header of",
                                    "swaps the header of",
                                    "marks the header of",
                                    "reads again the header of",
                                    "frees the header of",
                                    "reads the first word of",
                                    "reads the second word of",
                                    "writes the first word of",
                                    "writes the second word of"};
  const char* const name = kNames[static_cast<std::size_t>(op.kind)];
  if (op.kind >= OpKind::kHeaderBefore) {
    const Half& bytes = home.bytes[op.half];
    return trace("    node {} {} object {} of page {}, at home {}: {}, words {}/{}", node, name, op.half, op.page,
                 home.node, header_text(model_.object(op.page, op.half).header), shown(bytes.a), shown(bytes.b));
  }
  const bool half = op.kind == OpKind::kReadHalf || op.kind == OpKind::kWriteHalf;
  trace("    node {} {}{} of page {}, at home {}: {}, waiters {}, bytes {}/{}", node, name,
        half ? fmt::format(" {}", op.half) : "", op.page, home.node, word_text(home.latch.word, home.node),
        set_text(home.latch.waiters), shown(home.bytes[0].a), shown(home.bytes[1].a));
}

void Simulator::execute(NodeId node, const Op& op, Home& home, Copy& copy) {
  switch (op.kind) {
    case OpKind::kWriteHalf:
      home.bytes[op.half] = copy.bytes[op.half];
      break;
    case OpKind::kReadHalf:
      copy.bytes[op.half] = home.bytes[op.half];
      break;
    case OpKind::kAdd:
      checker_.adding(node, op.page, op.operand);
      home.latch.waiters += op.operand;
      break;
    case OpKind::kSwap:
      swap(node, op, home, copy);
      break;
    case OpKind::kSwapRead:
      copy.old = home.latch.word;
      break;
    case OpKind::kSwapWrite:
      if (copy.old == op.expected) replace_word(node, op, home);
      break;
    case OpKind::kReadWord:
      copy.seen.word = home.latch.word;
      break;
    case OpKind::kReadWaiters:
      copy.seen.waiters = waiters_seen(node, home.latch.waiters);
      break;
    case OpKind::kReadLatch:
      copy.seen = {home.latch.word, waiters_seen(node, home.latch.waiters)};
      break;
    default:
      execute_object(node, op, home);
      break;
  }
}

void Simulator::swap(NodeId node, const Op& op, Home& home, Copy& copy) {
  copy.old = home.latch.word;
  if (mutated(Mutation::kBlindSwap)) copy.old = op.expected;
  if (copy.old == op.expected) replace_word(node, op, home);
}

void Simulator::replace_word(NodeId node, const Op& op, Home& home) {
  home.latch.word = op.operand;
  if (op.voluntary) checker_.raced(op.page);
  checker_.swapped(node, op.page);
}

NodeSet Simulator::waiters_seen(NodeId node, NodeSet waiters) const {
  if (mutated(Mutation::kIgnoreWaiters)) return waiters & node_bit(node);
  if (!mutated(Mutation::kUnfairChoice)) return waiters;
  const NodeSet others = proto::without(waiters, node);
  return (waiters & node_bit(node)) | (others & (~others + 1));
}

// As the transports do: never waits. What the ring has no room for is put behind what waits at the sender already.
void Simulator::post(NodeId from, NodeId to, const Parcel& parcel) {
  Fifo<Parcel>& rest = overflow(from, to);
  if (rest.empty() && has_room(from, to)) return put(from, to, parcel);
  trace("    the ring from node {} to node {} is full: {} messages wait", from, to, rest.size() + 1);
  if (mutated(Mutation::kRingLoses)) return;
  rest.push(parcel);
  refresh_flush(from, to);
}

bool Simulator::has_room(NodeId from, NodeId to) {
  const auto full = [this, from](NodeId node) {
    const std::size_t taken = mail(from, node).size() + object_mail(from, node).size();
    return model_.options.ring != 0 && taken >= model_.options.ring;
  };
  for (unsigned i = 0; i < model_.options.nodes && mutated(Mutation::kRingWaits); ++i) {
    const auto other = static_cast<NodeId>(i);
    if (!overflow(from, other).empty() && full(other)) return false;
  }
  return !full(to);
}

void Simulator::put(NodeId from, NodeId to, const Parcel& parcel) {
  if (parcel.object) {
    object_mail(from, to).push(parcel.object_letter);
    scheduler_.set(object_mail_actor(from, to), true);
  } else {
    mail(from, to).push(parcel.letter);
    refresh_mail(to);
  }
}

// The sender has been told that there is room.
void Simulator::flush(NodeId from, NodeId to) {
  Fifo<Parcel>& rest = overflow(from, to);
  put(from, to, rest.pop());
  trace("    node {} puts a message for node {} into the ring, {} wait", from, to, rest.size());
  refresh_flush(from, to);
}

void Simulator::made_room(NodeId from, NodeId to) {
  if (mutated(Mutation::kRingForgets)) return;
  refresh_flush(from, to);
  for (unsigned i = 0; i < model_.options.nodes && mutated(Mutation::kRingWaits); ++i) {
    refresh_flush(from, static_cast<NodeId>(i));
  }
}

void Simulator::refresh_flush(NodeId from, NodeId to) {
  scheduler_.set(flush_actor(from, to), !overflow(from, to).empty() && has_room(from, to));
}

void Simulator::deliver(Fifo<Letter>& letters, NodeId to) {
  const Letter letter = letters.pop();
  if (&letters != &late_[to]) made_room(letter.from, to);
  const auto page = static_cast<unsigned>(letter.message.first);
  step(to, page, {.kind = proto::EventKind::kMessage, .node = letter.from, .message = letter.message});
  refresh_mail(to);
}

// Mail waits while the page of its first letter is locked.
void Simulator::refresh_mail(NodeId to) {
  const auto deliverable = [this, to](const Fifo<Letter>& letters) {
    return !letters.empty() && !model_.copy(to, static_cast<unsigned>(letters.front().message.first)).locked();
  };
  for (unsigned i = 0; i < model_.options.nodes; ++i) {
    const auto from = static_cast<NodeId>(i);
    scheduler_.set(mail_actor(from, to), deliverable(mail(from, to)));
  }
  scheduler_.set(late_actor(to), deliverable(late_[to]));
}

}  // namespace dsm::sim
