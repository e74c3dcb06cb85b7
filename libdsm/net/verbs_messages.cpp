// Messages. A SEND carries the bytes, and its immediate word says what it is (verbs_wire.h). The receiver copies a
// message out, gives the buffer back to the shared receive queue, and tells the sender now and then how many it has
// taken. What a node sends to itself does not go through the card. Any thread, in signal context too.
#include <arpa/inet.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/verbs_impl.h"

namespace dsm::net::verbs {
namespace {

constexpr int kAtOnce = 16;

}  // namespace

Result<void> VerbsTransport::send(NodeId to, std::span<const std::byte> message, Waiter whom) {
  DSM_CHECK(to < nodes_, "node {} of {}", to, nodes_);
  DSM_CHECK(message.size() <= kMaxMessageBytes, "message of {} bytes", message.size());
  if (to == self_) return send_here(message, whom);
  if (contains(failed(), to)) return fail(Errc::kPeerDown, "the connection to the node is broken");
  Outbox& box = outboxes_[to];
  const std::lock_guard guard(box.lock);
  if (box.overflow.empty() && may_send(box)) {
    put_mail(to, {MailKind::kMessage, self_, static_cast<std::uint16_t>(box.sent.load())}, message);
    box.sent.fetch_add(1);
    return {};
  }
  if (auto kept = box.overflow.push(0, message); !kept) return kept;
  overflowing_.fetch_or(node_bit(to));
  flush(to);
  return {};
}

Result<void> VerbsTransport::send_here(std::span<const std::byte> message, Waiter whom) {
  {
    const std::lock_guard guard(drain_lock_);
    if (auto kept = own_mail_.push(0, message); !kept) return kept;
    own_waiting_.fetch_add(1);
  }
  if (whom != Waiter::kAccess || !ring(Waiter::kAccess)) ring(Waiter::kService);
  return {};
}

bool VerbsTransport::may_send(const Outbox& box) const { return box.sent.load() != box.allowed.load(); }

// The queue always has room, or will have when the other card has acknowledged: windows are smaller than it.
void VerbsTransport::put_mail(NodeId to, MailWord word, std::span<const std::byte> bytes) {
  Outbox& box = outboxes_[to];
  while (box.posted - box.completed.load() >= kMailDepth - 1) {
    if (contains(failed(), to)) return;
    reap_sends();
    cpu_relax();
  }
  ibv_sge piece{reinterpret_cast<std::uint64_t>(bytes.data()), static_cast<std::uint32_t>(bytes.size()), 0};
  ibv_send_wr request{};
  request.opcode = IBV_WR_SEND_WITH_IMM;
  request.imm_data = htonl(pack(word));
  request.sg_list = &piece;
  request.num_sge = bytes.empty() ? 0 : 1;
  ++box.posted;
  request.wr_id = std::uint64_t{to} << 32 | box.posted;
  if (word.kind == MailKind::kMessage) request.send_flags = IBV_SEND_SOLICITED;
  if (box.posted % kSignalEvery == 0) request.send_flags |= IBV_SEND_SIGNALED;
  if (bytes.size() <= mail_inline_) {
    request.send_flags |= IBV_SEND_INLINE;
  } else {
    std::byte* const slot = box.slots.data() + box.posted % kMailDepth * kSlotBytes;
    std::memcpy(slot, bytes.data(), bytes.size());
    piece.addr = reinterpret_cast<std::uint64_t>(slot);
    piece.lkey = box.slots.lkey();
  }
  ibv_send_wr* refused = nullptr;
  const int error = ibv_post_send(box.pair.get(), &request, &refused);
  DSM_CHECK(error == 0, "ibv_post_send of a message: errno {}", error);
}

void VerbsTransport::flush(NodeId to) {
  Outbox& box = outboxes_[to];
  while (!box.overflow.empty() && may_send(box)) {
    put_mail(to, {MailKind::kMessage, self_, static_cast<std::uint16_t>(box.sent.load())},
             box.overflow.front().message());
    box.sent.fetch_add(1);
    box.overflow.pop();
  }
  if (box.overflow.empty()) overflowing_.fetch_and(~node_bit(to));
}

void VerbsTransport::flush_all() {
  for (NodeSet waiting = overflowing_.load() & ~failed(); waiting != 0; waiting &= waiting - 1) {
    const auto to = static_cast<NodeId>(std::countr_zero(waiting));
    const std::lock_guard guard(outboxes_[to].lock);
    flush(to);
  }
}

void VerbsTransport::reap_sends() {
  const std::lock_guard guard(reap_lock_);
  ibv_wc completions[kAtOnce];
  for (int found = kAtOnce; found == kAtOnce;) {
    found = ibv_poll_cq(sends_cq_.get(), kAtOnce, completions);
    DSM_CHECK(found >= 0, "ibv_poll_cq: {}", found);
    for (const ibv_wc& completion : std::span(completions, static_cast<std::size_t>(found))) {
      const auto to = static_cast<NodeId>(completion.wr_id >> 32);
      if (completion.status != IBV_WC_SUCCESS) give_up(to, completion.status);
      outboxes_[to].completed.store(static_cast<std::uint32_t>(completion.wr_id));
    }
  }
}

// --- what arrives ---------------------------------------------------------------------------------------------------

void VerbsTransport::drain() {
  const std::lock_guard guard(drain_lock_);
  ibv_wc completions[kAtOnce];
  for (int found = kAtOnce; found == kAtOnce;) {
    found = ibv_poll_cq(mail_.completions.get(), kAtOnce, completions);
    DSM_CHECK(found >= 0, "ibv_poll_cq: {}", found);
    for (const ibv_wc& completion : std::span(completions, static_cast<std::size_t>(found))) arrived(completion);
  }
}

void VerbsTransport::arrived(const ibv_wc& completion) {
  const auto slot = static_cast<std::uint32_t>(completion.wr_id);
  const NodeId from = sender_of(completion.qp_num);
  if (completion.status != IBV_WC_SUCCESS) {
    if (from != kNoNode) give_up(from, completion.status);
    return;  // the queue pair is gone, and its buffer with it
  }
  const MailWord word = unpack_mail(ntohl(completion.imm_data));
  const bool whole = from != kNoNode && (completion.wc_flags & IBV_WC_WITH_IMM) != 0 && word.from == from &&
                     completion.byte_len <= kMaxMessageBytes;
  if (whole && word.kind == MailKind::kCredit && word.number <= kWindow) {
    outboxes_[from].allowed.fetch_add(word.number);
    mail_.post(slot);
  } else if (whole && word.kind == MailKind::kMessage) {
    const std::uint64_t number = arrived_.load(std::memory_order_relaxed);
    arrivals_[number % arrivals_.size()] = {slot, static_cast<std::uint8_t>(completion.byte_len), from};
    arrived_.store(number + 1);
  } else {
    if (from != kNoNode) give_up(from, "sent what is no message of ours", "nothing more is taken from it");
    mail_.post(slot);
  }
}

NodeId VerbsTransport::sender_of(std::uint32_t pair) const {
  for (unsigned node = 0; node < nodes_; ++node) {
    if (node != self_ && outboxes_[node].pair->qp_num == pair) return static_cast<NodeId>(node);
  }
  return kNoNode;
}

unsigned VerbsTransport::poll(const MessageSink& sink, unsigned budget) {
  if (polling_.load(std::memory_order_relaxed) || polling_.exchange(true, std::memory_order_acquire)) return 0;
  drain();
  if (overflowing_.load() != 0) flush_all();
  const unsigned handled = hand_out(sink, budget);
  polling_.store(false, std::memory_order_release);
  return handled;
}

// What was there when it began, own messages and others' in turn: a flood of either leaves time for the other.
unsigned VerbsTransport::hand_out(const MessageSink& sink, unsigned budget) {
  std::uint64_t others = arrived_.load() - taken_.load(std::memory_order_relaxed);
  std::uint32_t own = own_waiting_.load();
  unsigned handled = 0;
  for (; handled < budget && others + own != 0; ++handled) {
    if (own != 0 && (own_first_ || others == 0)) {
      --own;
      hand_out_own(sink);
    } else {
      --others;
      hand_out_one(sink);
    }
    own_first_ = !own_first_;
  }
  return handled;
}

void VerbsTransport::hand_out_own(const MessageSink& sink) {
  alignas(16) std::byte bytes[kMaxMessageBytes];
  std::size_t length = 0;
  {
    const std::lock_guard guard(drain_lock_);
    const std::span<const std::byte> message = own_mail_.front().message();
    length = message.size();
    std::copy(message.begin(), message.end(), bytes);
    own_mail_.pop();
    own_waiting_.fetch_sub(1);
  }
  sink(self_, {bytes, length});
}

void VerbsTransport::hand_out_one(const MessageSink& sink) {
  alignas(16) std::byte bytes[kMaxMessageBytes];
  Arrival arrival{};
  {
    const std::lock_guard guard(drain_lock_);
    const std::uint64_t number = taken_.load(std::memory_order_relaxed);
    arrival = arrivals_[number % arrivals_.size()];
    std::memcpy(bytes, mail_.slot(arrival.slot), arrival.bytes);
    mail_.post(arrival.slot);
    taken_.store(number + 1);
  }
  Inbox& box = inboxes_[arrival.from];
  if (++box.taken - box.returned >= kCreditStep) return_credit(arrival.from);
  if (!contains(failed(), arrival.from)) sink(arrival.from, {bytes, arrival.bytes});
}

void VerbsTransport::return_credit(NodeId from) {
  if (contains(failed(), from)) return;
  Inbox& box = inboxes_[from];
  const auto count = static_cast<std::uint16_t>(box.taken - box.returned);
  box.returned = box.taken;
  const std::lock_guard guard(outboxes_[from].lock);
  put_mail(from, {MailKind::kCredit, self_, count}, {});
}

// --- the end of a node ----------------------------------------------------------------------------------------------

void VerbsTransport::give_up(NodeId node, ibv_wc_status status) {
  // A queue pair's other requests fail with it; what counts is the first.
  if (!contains(failed(), node)) give_up(node, "cannot be reached any more", status_text(status));
}

void VerbsTransport::give_up(NodeId node, const char* why, const char* what) {
  if (contains(failed_.fetch_or(node_bit(node)), node)) return;
  log(LogLevel::kError, "net", "node {} {}: {}", node, why, what);
  wake(Waiter::kService);  // who watches failed()
}

}  // namespace dsm::net::verbs
