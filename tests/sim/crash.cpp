// The end of a node, as the runtime has it (runtime/lost.h, cluster/job.h). It ends in the middle of whatever it does:
// of its chains some operations have been done, and what has not found room in a ring is lost with it. The others go on
// until each hears of it from the launcher, or an operation on the lost memory fails: then it names the node and ends,
// too. Until then every promise about memory holds, and nobody waits but for a page that the ended node had to do with.
#include <algorithm>
#include <bit>

#include "tests/sim/simulator.h"

namespace dsm::sim {

void Simulator::crash() {
  run_until(length() * model_.options.crash / 100);
  first_ended_ = static_cast<NodeId>(random_.below(model_.options.nodes));
  trace("node {} dies", first_ended_);
  end_node(first_ended_, kNoNode);
  if (!model_.options.deaf) give_notice();
  run_until(counts_.moves + random_.below(static_cast<unsigned>(length())));
  generating_ = false;
  run_fairly();
  if (model_.options.deaf) {
    check_who_waits();
    give_notice();
    run_fairly();
  }
  for (unsigned page = 0; page < model_.options.pages; ++page) {
    checker_.exclusion(page);
    checker_.backing(page);
  }
  for (unsigned i = 0; i < model_.options.nodes; ++i) {
    if (contains(ended_, static_cast<NodeId>(i))) continue;
    throw Failure{Check::kStuck, fmt::format("node {} has ended, and node {} goes on for ever", first_ended_, i)};
  }
}

// The launcher tells all others, each at its own time.
void Simulator::give_notice() {
  for (unsigned i = 0; i < model_.options.nodes; ++i) {
    if (contains(ended_, static_cast<NodeId>(i))) continue;
    scheduler_.set(notice_actor(static_cast<NodeId>(i)), true);
    if (mutated(Mutation::kLoseNotice)) return;
  }
}

void Simulator::hear(NodeId node) { end_node(node, first_ended_); }

void Simulator::end_node(NodeId node, NodeId because_of) {
  if (because_of != kNoNode) trace("node {} ends: node {} is lost", node, because_of);
  ended_ |= node_bit(node);
  for (unsigned page = 0; page < model_.options.pages; ++page) {
    if (concerns(node, page)) blamed_[page] = true;
  }
  for (unsigned to = 0; to < model_.options.nodes; ++to) {
    Fifo<Parcel>& lost = overflow(node, static_cast<NodeId>(to));
    for (; !lost.empty(); lost.pop()) {
      const Parcel& parcel = lost.front();
      blamed_[parcel.object ? parcel.object_letter.page : static_cast<unsigned>(parcel.letter.message.first)] = true;
    }
  }
  for (unsigned i = 0; i < actors_.size(); ++i) {
    const Actor& actor = actors_[i];
    const bool memory = actor.kind == ActorKind::kWire && actor.a != node;  // of others, who find it there, or gone
    if (!memory && belongs_to(actor, node)) scheduler_.stop(i);
  }
}

// Whether others may have to wait for the node at this page.
bool Simulator::concerns(NodeId node, unsigned page) const {
  const Home& home = model_.homes[page];
  const Copy& copy = model_.copy(node, page);
  const bool idle = copy.page.phase == proto::Phase::kIdle && copy.page.access == Access::kNone && !copy.executing() &&
                    !copy.in_flight && !copy.done_due;
  const bool named = proto::owned_by(home.latch.word, node, home.node) ||
                     contains(proto::set_of(home.latch.word) | home.latch.waiters, node);
  // The home itself is needed for objects only: it has their queues.
  const bool needed = home.node == node && (model_.options.memory_dies || model_.options.weights.borrow != 0);
  return !idle || named || needed || concerns_objects(node, page);
}

bool Simulator::concerns_objects(NodeId node, unsigned page) const {
  for (std::size_t i = 0; i < threads_.size(); ++i) {  // readers are not named in a header
    const bool borrows = works_[i].borrow.stage != proto::BorrowStage::kIdle;
    if (borrows && threads_[i].node == node && threads_[i].page == page) return true;
  }
  for (unsigned which = 0; which < kObjectsPerPage; ++which) {
    const proto::Header header = model_.object(page, which).header;
    if (proto::hold_of(header) != proto::Hold::kFree && proto::holder_of(header) == node) return true;
  }
  return false;
}

// A thread that waits for such a page has others meanwhile.
void Simulator::spread_blame() {
  for (unsigned page = 0; page < model_.options.pages; ++page) {
    for (NodeSet left = ended_; left != 0; left &= left - 1) {
      if (concerns(static_cast<NodeId>(std::countr_zero(left)), page)) blamed_[page] = true;
    }
  }
  for (bool more = true; more;) {
    more = false;
    for (const Thread& thread : threads_) {
      if (!thread.outer || !blamed_[thread.page] || blamed_[*thread.outer]) continue;
      blamed_[*thread.outer] = more = true;
    }
  }
}

// Nothing moves any more, and nobody has heard anything.
void Simulator::check_who_waits() {
  spread_blame();
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    const Thread& thread = threads_[i];
    if (contains(ended_, thread.node) || thread.state == ThreadState::kFinished || blamed_[thread.page]) continue;
    if ((thread.answers & ended_) != 0) continue;
    throw Failure{Check::kStuck,
                  fmt::format("node {} has ended, and thread {} of node {} waits for page {}, with which "
                              "it had nothing to do",
                              first_ended_, i, thread.node, thread.page)};
  }
}

}  // namespace dsm::sim
