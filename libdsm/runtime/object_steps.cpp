// The steps of a borrow as one-sided operations, and what the home does for others' borrows.
#include <algorithm>
#include <array>
#include <mutex>
#include <optional>

#include "base/check.h"
#include "base/log.h"
#include "base/meta_layout.h"
#include "base/signals.h"
#include "runtime/leases.h"
#include "runtime/lost.h"
#include "runtime/node.h"
#include "runtime/object_queues.h"
#include "runtime/objects.h"
#include "runtime/obstacles.h"
#include "runtime/waits.h"
#include "runtime/wire.h"

namespace dsm::runtime {
namespace {

using net::Region;
using proto::Header;

class ChainGuard {
 public:
  explicit ChainGuard(const net::Transport& transport) {
    if (transport.takes_locks()) blocked_.emplace();
  }

 private:
  std::optional<SignalsBlocked> blocked_;
};

// The most a step has: look, swap, mark, bytes out, bytes in, look, add.
constexpr std::size_t kMostOps = 7;

std::size_t ops_of(const proto::BorrowActions& todo) {
  return std::size_t{todo.read_before} + todo.swap + (todo.add_first != 0) + todo.write_bytes + todo.read_bytes +
         todo.read_after + (todo.add_last != 0);
}

void take_results(const proto::BorrowActions& todo, std::span<const net::Op> chain, proto::BorrowEvent& event) {
  if (todo.swap) event.old = chain[todo.read_before ? 1 : 0].old;
  if (todo.add_last != 0) event.settled = chain.back().old;
}

}  // namespace

NodeId Objects::home_of(std::uint64_t address) const {
  const Geometry& geometry = node_.geometry;
  const PageId page = geometry.page_of(address);
  if (geometry.program_nodes() == 1) return node_.self;
  if (geometry.lent(page)) return node_.leases->lessee(page);
  return geometry.interleaved(page) && geometry.memory_nodes != 0 ? NodeId{0} : geometry.home(page);
}

proto::ObjectPlace Objects::place(std::uint64_t address, std::uint64_t bytes) const {
  const Geometry& geometry = node_.geometry;
  if (geometry.program_nodes() == 1) return {node_.self, node_.self, false, false};
  const PageRange pages = geometry.pages_of(address, bytes);
  const NodeId home = home_of(address);
  return {node_.self, home, bytes <= kScratchBytes,
          geometry.home(pages.first) != home || geometry.home_end(pages.first) < pages.end()};
}

std::atomic<Header>* Objects::slice_headers() const {
  if (!node_.transport->cpu_atomics_agree()) return nullptr;
  const std::uint64_t begin = node_.geometry.address_of(node_.geometry.slice_first(node_.self));
  return reinterpret_cast<std::atomic<Header>*>(node_.meta_view + header_offset(node_.geometry, begin));
}

// --- chains ---------------------------------------------------------------------------------------------------------

// Reads or writes the bytes of an object that has several homes, piece by piece.
void Objects::copy_scattered(const ObjectAt& object, bool write) {
  const Geometry& geometry = node_.geometry;
  auto* local = static_cast<std::byte*>(object.local);
  for (std::uint64_t at = object.address, end = at + object.bytes; at < end;) {
    const PageId page = geometry.page_of(at);
    const std::uint64_t next = geometry.address_of(geometry.home_end(page));
    const auto bytes = static_cast<std::uint32_t>(std::min(next, end) - at);
    const std::uint64_t offset = at - geometry.base;
    net::Op op = write ? net::write_op(Region::kMemory, offset, local, bytes)
                       : net::read_op(Region::kMemory, offset, local, bytes);
    execute_ops(geometry.home(page), {&op, 1});
    local += bytes;
    at += bytes;
  }
}

void Objects::execute_ops(NodeId home, std::span<net::Op> ops) {
  if (ops.empty()) return;
  execute_or_end(node_, home, ops);
  count_ops(home, ops);
}

void Objects::count_ops(NodeId home, std::span<const net::Op> ops) {
  if (home == node_.self) return;
  NodeStats& stats = *node_.stats;
  for (const net::Op& op : ops) {
    switch (op.kind) {
      case net::OpKind::kRead:
        count(stats.op_read);
        count(stats.bytes_read, op.bytes);
        break;
      case net::OpKind::kWrite:
        count(stats.op_write);
        count(stats.bytes_written, op.bytes);
        break;
      case net::OpKind::kCompareAndSwap:
      case net::OpKind::kFetchAdd:
        count(stats.op_atomic);
        break;
    }
  }
}

// One chain; of an object that has several homes, what goes to its header is one before the bytes and one behind them.
void Objects::execute(const proto::BorrowActions& todo, const ObjectAt& object, proto::BorrowEvent& event) {
  std::array<net::Op, kMostOps> ops;
  const NodeId home = home_of(object.address);
  if ((todo.write_bytes || todo.read_bytes) && place(object.address, object.bytes).scattered) {
    proto::BorrowActions before = todo, after;
    before.write_bytes = before.read_bytes = before.read_after = false;
    before.add_last = 0;
    after.read_after = todo.read_after;
    after.add_last = todo.add_last;
    execute(before, object, event);
    copy_scattered(object, todo.write_bytes);
    return execute(after, object, event);
  }
  const std::span<net::Op> chain = put_chain(todo, object, event, ops);
  execute_ops(home, chain);
  take_results(todo, chain, event);
}

PostedSteps Objects::post_all(std::span<ObjectStep> steps, std::span<net::Op> ops) {
  std::size_t used = 0;
  for (const ObjectStep& one : steps) used += put_chain(one.todo, one.object, *one.event, ops.subspan(used)).size();
  PostedSteps posted{home_of(steps[0].object.address), {}, ops.first(used)};
  const ChainGuard guard(*node_.transport);
  posted.chain = post_or_end(node_, posted.home, posted.ops);
  count_ops(posted.home, posted.ops);
  return posted;
}

void Objects::finish_all(std::span<ObjectStep> steps, const PostedSteps& posted) {
  {
    const ChainGuard guard(*node_.transport);
    finish_or_end(node_, posted.home, posted.chain);
  }
  std::size_t used = 0;
  for (ObjectStep& one : steps) {
    const std::size_t count = ops_of(one.todo);
    take_results(one.todo, posted.ops.subspan(used, count), *one.event);
    used += count;
  }
}

// The operations of a step, at the front of `ops`.
std::span<net::Op> Objects::put_chain(const proto::BorrowActions& todo, const ObjectAt& object,
                                      proto::BorrowEvent& event, std::span<net::Op> ops) const {
  const std::uint64_t header = header_offset(node_.geometry, object.address);
  const std::uint64_t memory = object.address - node_.geometry.base;
  const auto bytes = static_cast<std::uint32_t>(object.bytes);
  std::size_t used = 0;
  if (todo.read_before) ops[used++] = net::read_op(Region::kMeta, header, &event.before, sizeof(Header));
  if (todo.swap) ops[used++] = net::cas_op(Region::kMeta, header, todo.expected, todo.desired);
  if (todo.add_first != 0) ops[used++] = net::fetch_add_op(Region::kMeta, header, todo.add_first);
  if (todo.write_bytes) ops[used++] = net::write_op(Region::kMemory, memory, object.local, bytes);
  if (todo.read_bytes) ops[used++] = net::read_op(Region::kMemory, memory, object.local, bytes);
  if (todo.read_after) ops[used++] = net::read_op(Region::kMeta, header, &event.after, sizeof(Header));
  if (todo.add_last != 0) ops[used++] = net::fetch_add_op(Region::kMeta, header, todo.add_last);
  return ops.first(used);
}

proto::Outcome Objects::run(Pin& pin, const ObjectAt& object, const proto::BorrowEvent& first) {
  const proto::ObjectPlace where = place(object.address, object.bytes);
  for (proto::BorrowEvent event = first;;) {
    const proto::BorrowActions todo = step(pin.borrow, where, event);
    event = {};
    if (todo.has_chain()) {
      const ChainGuard guard(*node_.transport);
      event.kind = proto::BorrowEventKind::kDone;
      execute(todo, object, event);
    }
    if (todo.tell_freed) tell_freed(object.address);
    if (todo.outcome != proto::Outcome::kNone) return todo.outcome;
    if (todo.ask) event = wait_in_queue(pin, todo.turn, object);
  }
}

bool Objects::is_current(std::uint64_t address, std::uint64_t bytes, Header copy, std::optional<Header>& now) {
  proto::Borrow borrow;
  proto::BorrowEvent event{.kind = proto::BorrowEventKind::kBorrow, .have = true, .copy = copy};
  const proto::BorrowActions look = step(borrow, place(address, bytes), event);
  event = {proto::BorrowEventKind::kDone};
  const ChainGuard guard(*node_.transport);
  execute(look, {address, bytes, nullptr}, event);
  const bool hit = step(borrow, place(address, bytes), event).outcome == proto::Outcome::kHit;
  if (!proto::is_writing(borrow.word)) now = borrow.word;
  return hit && proto::hold_of(borrow.word) != proto::Hold::kStanding;
}

void Objects::begin_writing(proto::Borrow& borrow, std::uint64_t address) {
  proto::BorrowEvent event;
  const ChainGuard guard(*node_.transport);
  execute({.add_first = proto::kWriting}, {address, 1, nullptr}, event);
  borrow.word |= proto::kWriting;
}

bool Objects::stands_here(std::uint64_t address, std::uint64_t version) {
  proto::BorrowEvent event;
  const ChainGuard guard(*node_.transport);
  execute({.read_before = true}, {address, 1, nullptr}, event);
  return proto::is_held(event.before, proto::Hold::kStanding, node_.self) && proto::version_of(event.before) == version;
}

void Objects::forget_everywhere(std::uint64_t address) {
  const auto nodes = static_cast<NodeId>(node_.geometry.program_nodes());
  for (NodeId to = 0; to < nodes; ++to) {
    if (to != node_.self) Call(node_, to, Operation::kObjectForget, {address, 0, 0}).wait();
  }
  const SignalsBlocked blocked;
  if (ObjectCopies* copies = copies_.load()) copies->forget(address, false);
}

proto::Outcome Objects::give_back(proto::Borrow& borrow, const ObjectAt& object, const proto::BorrowEvent& first) {
  const proto::ObjectPlace where = place(object.address, object.bytes);
  for (proto::BorrowEvent event = first;;) {
    const proto::BorrowActions todo = step(borrow, where, event);
    DSM_CHECK(!todo.ask, "giving {:#x} back has to wait", object.address);
    event = {proto::BorrowEventKind::kDone};
    if (todo.has_chain()) execute(todo, object, event);
    if (todo.tell_freed) tell_freed(object.address);
    if (todo.outcome != proto::Outcome::kNone) return todo.outcome;
  }
}

// Who waits to write back holds the object, and so its pages.
proto::BorrowEvent Objects::wait_in_queue(Pin& pin, const proto::Turn& turn, const ObjectAt& object) {
  count(node_.stats->object_wait);
  const bool begins = turn.wish != proto::Wish::kWriteBack && node_.geometry.program_nodes() > 1;
  const PinKind kind = pin.kind.load(std::memory_order_relaxed);
  const std::uint64_t stamp_before = begins ? stamp(object.address, object.bytes) : 0;
  if (begins) let_pages_go(pin);
  proto::BorrowEvent event{.kind = proto::BorrowEventKind::kGranted, .have = true};
  event.word = await_grant(turn, object, pin.site);
  if (begins) event.have = regain_pages(pin, kind, stamp_before);
  return event;
}

Header Objects::await_grant(const proto::Turn& turn, const ObjectAt& object, CallSite site) {
  const NodeId home = home_of(object.address);
  const Waiting waiting(my_pins(), WaitKind::kObject, object.address, site);
  if (node_.config.check != 0) trace_callers(my_pins());
  return Call(node_, home, Operation::kObjectWait,
              {object.address, static_cast<std::uint64_t>(turn.wish),
               (turn.small ? 1U : 0U) | (turn.in_place ? 2U : 0U)})
      .wait();
}

// --- messages -------------------------------------------------------------------------------------------------------

void Objects::send(NodeId to, ObjectMessageKind kind, std::uint64_t address) {
  const ObjectMessage message{kind, address};
  const SignalsBlocked blocked;
  send_message(node_, to, pack(MessageType::kObject, message).bytes(), net::Waiter::kService);
}

void Objects::tell_freed(std::uint64_t address) { send(home_of(address), ObjectMessageKind::kFreed, address); }

void Objects::on_message(NodeId from, const ObjectMessage& message) {
  const std::uint64_t address = message.address;
  const Geometry& geometry = node_.geometry;
  const bool sane = geometry.holds(address) && message.kind <= ObjectMessageKind::kForgotten;
  const bool for_home = message.kind == ObjectMessageKind::kFreed || message.kind == ObjectMessageKind::kForgotten;
  const bool of_a_free = message.kind >= ObjectMessageKind::kForget;
  const NodeId home = sane ? home_of(address) : kNoNode;
  const bool anybodys = sane && of_a_free && geometry.interleaved(geometry.page_of(address));
  if (!sane || (!anybodys && (for_home ? home != node_.self : home != from))) {
    log(LogLevel::kError, "wire", "node {} has sent a message about object {:#x}: ignored", from, address);
    return;
  }
  ObjectCopies* const copies = copies_.load();
  switch (message.kind) {
    case ObjectMessageKind::kFreed:
      return queues_->freed(address);
    case ObjectMessageKind::kRecall:
      if (copies != nullptr) return copies->recalled(address);
      break;
    case ObjectMessageKind::kForget:
      if (copies != nullptr) copies->forget(address, true);
      return send(from, ObjectMessageKind::kForgotten, address);
    case ObjectMessageKind::kForgotten:
      return forgotten(from, address);
  }
  proto::Borrow borrow;  // this node keeps no copies: it has become the standing owner without knowing
  give_back(borrow, {address, 0, nullptr}, {proto::BorrowEventKind::kGiveBack});
}

void Objects::serve() {
  node_.calls->handle(Operation::kObjectWait, [this](Caller caller, const Request& request) {
    const std::uint64_t address = request.args[0];
    const bool sane = node_.geometry.holds(address) && request.args[1] <= 2 && home_of(address) == node_.self;
    if (!sane) {
      log(LogLevel::kError, "wire", "node {} has asked for object {:#x}: ignored", caller.node, address);
      return node_.calls->reply(caller, 0);
    }
    const bool small = (request.args[2] & 1) != 0, in_place = (request.args[2] & 2) != 0;
    queues_->ask(address, {caller.node, static_cast<proto::Wish>(request.args[1]), small, in_place}, caller);
  });
  node_.calls->handle(Operation::kObjectForget, [this](Caller caller, const Request& request) {
    if (ObjectCopies* copies = copies_.load()) copies->forget(request.args[0], false);
    node_.calls->reply(caller, 0);
  });
  node_.calls->handle(Operation::kObjectBlock, [this](Caller caller, const Request& request) {
    void* block = new_block(request.args[0]);
    node_.calls->reply(caller, reinterpret_cast<std::uint64_t>(block));
  });
  serve_obstacles(node_);
}

}  // namespace dsm::runtime
