// Object work: while a node has a page for it, its threads borrow and change the bytes at the home, beside other nodes'
// threads. Each change is one step here: the rules for one object are not the page protocol's business.
#include "tests/sim/simulator.h"

namespace dsm::sim {

void Simulator::try_borrow(Thread& thread, Copy& copy) {
  if (copy.view != Access::kObject) {
    thread.state = ThreadState::kFaulting;
    return;
  }
  if (!copy.page.fresh || (copy.closed && !(copy.owed && thread.asked))) {
    thread.state = ThreadState::kQueueing;
    return;
  }
  copy.owed = false;
  ++copy.borrows;
  ++counts_.accesses;
  thread.holds = random_.below(8);
  thread.state = ThreadState::kHolding;
  trace("node {} borrows in page {} ({} borrows)", thread.node, thread.page, copy.borrows);
  refresh(thread.node, thread.page);
}

void Simulator::work(Thread& thread) {
  Copy& copy = model_.copy(thread.node, thread.page);
  if (thread.holds-- > 0) {
    if (!random_.percent(50)) return;
    Home& home = model_.homes[thread.page];
    checker_.read(thread.node, thread.page, home.bytes);
    home.bytes[0] = home.bytes[1] = ++last_value_;
    model_.truth[thread.page] = home.bytes;
    trace("node {} changes an object of page {}: {}", thread.node, thread.page, last_value_);
    return;
  }
  --copy.borrows;
  trace("node {} ends a borrow in page {} ({} borrows)", thread.node, thread.page, copy.borrows);
  thread.state = ThreadState::kChoosing;
  refresh(thread.node, thread.page);
}

// The protocol asks whether the page is still in use: then no new borrows begin. Or it says that they may.
void Simulator::close_if_asked(NodeId node, unsigned page, Copy& copy) {
  if (copy.page.access == Access::kObject && copy.await_use) copy.closed = true;
  if (!copy.todo.reopen) return;
  copy.closed = false;
  wake(node, page, ThreadState::kQueueing);
}

}  // namespace dsm::sim
