// One-sided chains and messages. Any thread, in signal context too: no allocation, no stdio. The shared memory is
// written by other processes at any time, so it is touched through atomics or copied, and messages are checked.
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/round_trips.h"
#include "net/shm_impl.h"

namespace dsm::net::shm {
namespace {

constexpr std::int64_t kClockSlackNs = 1'000'000;  // by how much CPUs may disagree on the time

void spin_until(std::int64_t time_ns) {
  while (now_ns() < time_ns) cpu_relax();
}

}  // namespace

std::byte* ShmTransport::region_of(const View& view, Region region) {
  return region == Region::kMemory ? view.memory.data() : view.meta.data();
}

void ShmTransport::run_chain(NodeId node, std::span<Op> chain) const {
  for (const Op& op : chain) check_bounds(op, node, sizes_);
  run_on_cpu(chain, {region_of(views_[node], Region::kMemory), region_of(views_[node], Region::kMeta)});
}

Result<void> ShmTransport::execute(NodeId node, std::span<Op> chain) {
  const std::int64_t way_there_ns = emulates(node) ? emulation_.latency_ns / 2 : 0;
  if (way_there_ns != 0) spin_until(now_ns() + way_there_ns);
  const auto posted = post(node, chain, way_there_ns);
  if (!posted) return tl::unexpected(posted.error());
  return finish(node, *posted);
}

Result<Posted> ShmTransport::post(NodeId node, std::span<Op> chain) { return post(node, chain, 0); }

// Its effects are there at once. The ticket is the time at which its results are here over an emulated network, of
// whose time they have spent some already.
Result<Posted> ShmTransport::post(NodeId node, std::span<Op> chain, std::int64_t spent_ns) {
  DSM_CHECK(node < nodes_, "node {} of {}", node, nodes_);
  if (node != self_) round_trips.fetch_add(1, std::memory_order_relaxed);
  if (contains(failed(), node)) return fail(Errc::kProtocol, "operation on a node that broke the message protocol");
  if (!emulates(node)) {
    run_chain(node, chain);
    return Posted{};
  }
  const std::int64_t start = now_ns() - spent_ns;
  std::uint64_t bytes = 0;
  for (const Op& op : chain) bytes += op.bytes;
  run_chain(node, chain);
  return Posted{static_cast<std::uint64_t>(start + emulation_.chain_ns(bytes))};
}

Result<void> ShmTransport::finish([[maybe_unused]] NodeId node, Posted posted) {
  if (posted.ticket != 0) spin_until(static_cast<std::int64_t>(posted.ticket));
  return {};
}

Result<void> ShmTransport::send(NodeId to, std::span<const std::byte> message, Waiter whom) {
  DSM_CHECK(to < nodes_, "node {} of {}", to, nodes_);
  DSM_CHECK(message.size() <= kMaxMessageBytes, "message of {} bytes", message.size());
  const std::int64_t due_ns = emulates(to) ? now_ns() + emulation_.message_ns : 0;
  Outbox& box = outboxes_[to];
  unsigned went = 0;
  {
    const std::lock_guard guard(box.lock);
    if (box.overflow.empty() && has_room(to)) {
      put(box, due_ns, message);
      went = 1;
    } else if (!contains(failed(), to)) {
      if (auto kept = box.overflow.push(due_ns, message); !kept) return kept;
      overflowing_.fetch_or(node_bit(to));
      went = flush(to);
    }
  }
  if (contains(failed(), to)) return fail(Errc::kProtocol, "message to a node that broke the message protocol");
  if (went > 0) ring_bells(to, whom);
  return {};
}

bool ShmTransport::has_room(NodeId to) {
  Outbox& box = outboxes_[to];
  const std::uint64_t produced = box.produced.load(std::memory_order_relaxed);
  if (produced - box.consumed < kRingSlots) return true;
  const std::uint64_t consumed = box.ring->consumed.load();
  if (consumed < box.consumed || consumed > produced) {
    give_up(to, "it says that it took messages which were never sent");
    return false;
  }
  box.consumed = consumed;
  return produced - consumed < kRingSlots;
}

void ShmTransport::put(Outbox& box, std::int64_t due_ns, std::span<const std::byte> message) {
  const std::uint64_t number = box.produced.load(std::memory_order_relaxed);
  Slot& slot = box.ring->slot(number);
  slot.due_ns.store(due_ns, std::memory_order_relaxed);
  if (!message.empty()) std::memcpy(slot.payload, message.data(), message.size());
  const auto length = static_cast<std::uint8_t>(message.size());
  slot.word.exchange(pack({kMagic, kVersion, self_, length, sequence_of(number)}));  // seq_cst: shm_bells.cpp, S1
  box.produced.store(number + 1, std::memory_order_relaxed);
}

unsigned ShmTransport::flush(NodeId to) {
  Outbox& box = outboxes_[to];
  unsigned went = 0;
  while (!box.overflow.empty()) {
    if (has_room(to)) {
      put(box, box.overflow.front().due_ns, box.overflow.front().message());
      box.overflow.pop();
      ++went;
    } else if (!box.stalled) {
      box.stalled = true;
      box.ring->stalled.exchange(1);  // then look again: shm_bells.cpp, S5
    } else {
      return went;
    }
  }
  if (std::exchange(box.stalled, false)) box.ring->stalled.store(0, std::memory_order_relaxed);
  overflowing_.fetch_and(~node_bit(to));
  return went;
}

void ShmTransport::flush_all() {
  NodeSet waiting = overflowing_.load() & ~failed();
  for (; waiting != 0; waiting &= waiting - 1) {
    const auto to = static_cast<NodeId>(std::countr_zero(waiting));
    Outbox& box = outboxes_[to];
    if (!box.lock.try_lock()) continue;  // its holder sends, and flushes
    const unsigned went = flush(to);
    box.lock.unlock();
    if (went > 0) ring_bells(to);
  }
}

// A look without the lock first: threads that spin for a message then share the lines they read.
bool ShmTransport::quiet() const {
  if (overflowing_.load(std::memory_order_relaxed) != 0) return false;
  for (const Inbox& box : inboxes_) {
    const std::uint64_t number = box.consumed.load(std::memory_order_relaxed);
    if (!is_empty(box.ring->slot(number).word.load(std::memory_order_relaxed), number)) return false;
  }
  return true;
}

unsigned ShmTransport::poll(const MessageSink& sink, unsigned budget) {
  if (quiet() || polling_.exchange(true, std::memory_order_acquire)) return 0;
  flush_all();
  const NodeSet failed_before = failed();
  unsigned handled = 0;
  unsigned from = next_sender_;
  for (unsigned looked = 0; looked < nodes_ && handled < budget; ++looked) {
    const auto sender = static_cast<NodeId>(from);
    from = from + 1 < nodes_ ? from + 1 : 0;
    if (!contains(failed_before, sender)) handled += drain(sender, sink, budget - handled);
  }
  next_sender_ = from;
  polling_.store(false, std::memory_order_release);
  return handled;
}

unsigned ShmTransport::drain(NodeId from, const MessageSink& sink, unsigned quota) {
  Inbox& box = inboxes_[from];
  alignas(16) std::byte bytes[kMaxMessageBytes];
  std::uint64_t number = box.consumed.load(std::memory_order_relaxed);
  // One lap at the most, so that a sender that never stops leaves time for the others.
  const std::uint64_t end = number + (quota < kRingSlots ? quota : kRingSlots);
  unsigned handled = 0;
  for (; number < end; ++number, ++handled) {
    const Slot& slot = box.ring->slot(number);
    const std::uint64_t packed = slot.word.load(std::memory_order_acquire);
    if (is_empty(packed, number)) break;
    const SlotWord word = unpack(packed);
    const std::int64_t due_ns = slot.due_ns.load(std::memory_order_relaxed);
    if (const char* why = complaint(word, number, from, due_ns); why != nullptr) {
      give_up(from, why);
      break;
    }
    if (due_ns != 0 && due_ns > now_ns()) break;
    std::memcpy(bytes, slot.payload, word.length);
    box.consumed.store(number + 1, std::memory_order_relaxed);
    box.ring->consumed.store(number + 1, std::memory_order_release);
    sink(from, {bytes, word.length});
  }
  if (handled > 0) ring_stalled(from);
  return handled;
}

const char* ShmTransport::complaint(const SlotWord& word, std::uint64_t number, NodeId from,
                                    std::int64_t due_ns) const {
  if (word.magic != kMagic) return "a message does not begin with the magic number";
  if (word.version != kVersion) return "a message has another version";
  if (word.sender != from) return "a message names another sender";
  if (word.sequence != sequence_of(number)) return "a message is out of sequence";
  if (word.length > kMaxMessageBytes) return "a message is too long";
  const bool due_ok =
      emulates(from) ? due_ns > 0 && due_ns <= now_ns() + emulation_.message_ns + kClockSlackNs : due_ns == 0;
  return due_ok ? nullptr : "a message has an impossible delivery time";
}

void ShmTransport::give_up(NodeId node, const char* why) {
  if (contains(failed_.fetch_or(node_bit(node)), node)) return;
  log(LogLevel::kError, "net", "node {} broke the message protocol: {}; nothing more is taken from it", node, why);
}

}  // namespace dsm::net::shm
