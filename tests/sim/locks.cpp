// Pages without bytes as locks, the way the runtime uses them: a thread holds its access for a while; a node keeps what
// it has gained until another asks (page.fresh is set whenever the page is at rest); while another asks, no thread
// takes the lock but one that the page was gained for; readers who hold it let other nodes' readers in beside them.
#include "tests/sim/simulator.h"

namespace dsm::sim {

void Simulator::try_lock(Thread& thread, Copy& copy) {
  if (!allows(copy.view, needed(thread))) {
    thread.state = ThreadState::kFaulting;
    return;
  }
  const bool exclusive = needed(thread) == Access::kWrite;
  const bool in_use = exclusive ? copy.held() : copy.writer;
  const bool its_turn = copy.owed ? thread.asked : !copy.await_use && !copy.locked();
  if (in_use || !its_turn) {
    thread.state = ThreadState::kQueueing;
    return;
  }
  copy.owed = false;
  copy.writer = exclusive;
  copy.readers += !exclusive;
  ++counts_.accesses;
  thread.holds = random_.moves(20);
  thread.state = ThreadState::kHolding;
  trace("node {} takes lock {} ({} readers)", thread.node, thread.page, copy.readers);
  refresh(thread.node, thread.page);
}

void Simulator::hold(Thread& thread) {
  if (thread.holds-- > 0) return;
  Copy& copy = model_.copy(thread.node, thread.page);
  if (copy.writer) {
    copy.writer = false;
  } else {
    --copy.readers;
  }
  trace("node {} lets lock {} go ({} readers)", thread.node, thread.page, copy.readers);
  thread.state = ThreadState::kChoosing;
  copy.looked = false;
  wake(thread.node, thread.page, ThreadState::kQueueing);
  refresh(thread.node, thread.page);
}

// The page is at rest after an event.
void Simulator::settle_lock(NodeId node, unsigned page, Copy& copy) {
  if (!model_.is_lock(page) || copy.in_flight) return;
  copy.page.fresh = copy.page.access != Access::kNone;
  wake(node, page, ThreadState::kQueueing);
}

// Another node asks: may anything be given up?
bool Simulator::lock_may_go(const Copy& copy) const {
  if (!copy.held()) return !copy.owed;
  return !copy.writer && !copy.looked && !(copy.owed && copy.view == Access::kWrite);
}

void Simulator::use_lock(NodeId node, unsigned page, Copy& copy) {
  copy.looked = copy.held();
  copy.await_use = false;
  if (!copy.held()) return step(node, page, {.kind = proto::EventKind::kUsed});
  step(node, page, {.kind = proto::EventKind::kRelease, .access = Access::kRead});
}

}  // namespace dsm::sim
