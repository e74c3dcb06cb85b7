#include "runtime/service.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <vector>

#include "base/allocation_gate.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/latency.h"
#include "base/log.h"
#include "base/meta_layout.h"
#include "base/signals.h"
#include "base/trace.h"
#include "runtime/batch.h"
#include "runtime/blocks.h"
#include "runtime/chunks.h"
#include "runtime/lost.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/pages.h"
#include "runtime/wire.h"

namespace dsm::runtime {

Service::Service(Node& node)
    : node_(node),
      node_transport_(node.transport.get()),
      sink_([this](NodeId from, std::span<const std::byte> bytes) { on_letter(from, bytes, On::kPolled); }),
      backlog_(std::make_unique_for_overwrite<Letter[]>(kBacklog)) {}

Service::~Service() { stop(); }

void Service::start() {
  const SignalsBlocked blocked;  // inherited: no handler of the program ever runs on the service thread
  thread_ = std::thread([this] { loop(); });
}

void Service::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true);
  nudge();
  thread_.join();
}

void Service::loop() {
  const OwnAllocations own;
  ::prctl(PR_SET_NAME, "dsm-service");
  ::prctl(PR_SET_TIMERSLACK, 1);
  if (!become_urgent()) prefer_latency();
  while (!stopping_.load()) {
    unsigned handled = poll(64);
    // Nothing more is taken from such a node, and what it was asked for will not come.
    if (const NodeSet failed = node_transport_->failed(); failed != 0) [[unlikely]]
      end_for_lost(static_cast<NodeId>(std::countr_zero(failed)));
    while (take_backlog()) ++handled;
    if (handled == 0) node_transport_->wait(net::Waiter::kService, -1);
  }
}

unsigned Service::poll_for_access() { return poll(16); }

// What is polled must fit the backlog, whatever it is.
unsigned Service::poll(std::uint32_t most) {
  const std::uint32_t waiting = backlog_tail_.load() - backlog_head_.load();
  const std::uint32_t budget = std::min(most, static_cast<std::uint32_t>(kBacklog) - waiting);
  return budget == 0 ? 0 : node_transport_->poll(sink_, budget);
}

void Service::put_off(NodeId from, std::span<const std::byte> bytes) {
  {
    const std::lock_guard guard(backlog_lock_);
    const std::uint32_t tail = backlog_tail_.load();
    DSM_CHECK(tail - backlog_head_.load() < kBacklog, "the backlog is full");
    Letter& letter = backlog_[tail % kBacklog];
    letter.bytes = static_cast<std::uint16_t>(bytes.size());
    letter.from = from;
    std::memcpy(letter.text, bytes.data(), bytes.size());
    backlog_tail_.store(tail + 1);
  }
  nudge();
}

bool Service::take_backlog() {
  const std::uint32_t head = backlog_head_.load();
  if (head == backlog_tail_.load()) return false;
  const Letter& letter = backlog_[head % kBacklog];
  on_letter(letter.from, {letter.text, letter.bytes}, On::kBacklog);
  backlog_head_.store(head + 1);
  return true;
}

// --- what arrives ---------------------------------------------------------------------------------------------------

// A letter that cannot be right is logged and dropped.
void Service::on_letter(NodeId from, std::span<const std::byte> bytes, On on) {
  const bool polled = on == On::kPolled;
  if (polled) count(node_.stats->message_received);
  const auto type = read_type(bytes);
  if (!type) {
    log(LogLevel::kError, "wire", "node {} has sent {} bytes that are no message of ours: ignored", from, bytes.size());
    return;
  }
  switch (*type) {
    case MessageType::kPages:
      on_pages(from, read_payload<proto::PageMessage>(bytes), on);
      return;
    case MessageType::kNoSuchPage: {
      const auto none = read_payload<NoSuchPages>(bytes);
      for (std::uint64_t i = 0; i < std::min<std::uint64_t>(none.count, kMaxBatch); ++i) {
        if (node_.geometry.has_bytes(none.first + i)) node_.pages->on_no_such_page(none.first + i);
      }
      return;
    }
    case MessageType::kRequest: {
      const auto request = read_payload<Request>(bytes);
      if (polled && !node_.calls->runs_anywhere(request)) return put_off(from, bytes);
      node_.calls->on_request(from, request);
      return;
    }
    case MessageType::kFrees: {
      if (polled) return put_off(from, bytes);
      const auto frees = read_payload<FreesMessage>(bytes);
      node_.blocks->on_frees(from, std::span(frees.blocks).first(std::min(frees.count, FreesMessage::kMost)));
      return;
    }
    case MessageType::kObject:
      if (polled) return put_off(from, bytes);
      node_.objects->on_message(from, read_payload<ObjectMessage>(bytes));
      return;
    case MessageType::kRing:
      if (node_.on_ring != nullptr) node_.on_ring();
      return;
    case MessageType::kReply: {
      const auto reply = read_payload<ReplyMessage>(bytes);
      node_.calls->on_reply(from, reply.call, reply.last != 0, reply.value);
      return;
    }
  }
}

void Service::on_pages(NodeId from, const proto::PageMessage& message, On on) {
  const Geometry& geometry = node_.geometry;
  const PageId end = message.first + message.count;
  const bool whole = message.count != 0 && message.count <= kMaxBatch && message.first < end &&
                     end <= geometry.all_pages() && geometry.has_bytes(message.first) == geometry.has_bytes(end - 1);
  if (!whole || message.kind > proto::MessageKind::kLook || message.want > Access::kObject) {
    log(LogLevel::kError, "wire", "node {} has sent a message about pages {}+{}: ignored", from, message.first,
        message.count);
    return;
  }
  trace(TraceEvent::kReceive, message.first, from, static_cast<std::uint64_t>(message.kind));
  for (PageId page = message.first; page < end; page += kPagesPerChunk - page % kPagesPerChunk) {
    if (!geometry.has_bytes(page) || node_.space->state(page) == mem::ChunkState::kShared) continue;
    if (on == On::kPolled) return put_off(from, pack(MessageType::kPages, message).bytes());
    return share_if_private(from, message);
  }
  node_.pages->on_message(from, message);
}

// Another node asks for a page of a chunk that only this node has seen: now it is shared. Its publishing tells who
// waits.
void Service::share_if_private(NodeId from, const proto::PageMessage& message) {
  const PageId end = message.first + message.count;
  for (PageId page = message.first, next = 0; page < end; page = next) {
    next = std::min(end, page + kPagesPerChunk - page % kPagesPerChunk);
    if (node_.space->state(page) == mem::ChunkState::kUnused) {
      send_message(node_, from, pack(MessageType::kNoSuchPage, NoSuchPages{page, next - page}).bytes());
    } else {
      share_chunk(page);
    }
  }
}

void Service::share_chunk(PageId page) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(static_cast<SliceChunks&>(*node_.chunks).sharing_lock());
  node_.space->share(page, [this](PageId first) { publish_chunk(first); });
}

// Frees every page of a chunk that has just become shared: from now on other nodes need this one for none of them.
void Service::publish_chunk(PageId first) {
  node_transport_->expose(net::Region::kMemory, first << kPageShift, kChunkBytes);
  std::vector<net::Op> frees;
  frees.reserve(kPagesPerChunk);
  for (PageId page = first; page < first + kPagesPerChunk; ++page) {
    frees.push_back(net::cas_op(net::Region::kMeta, latch_offset(page), 0, proto::kFreeWord));
  }
  std::vector<proto::Latch> latches(kPagesPerChunk);
  const auto bytes = static_cast<std::uint32_t>(kPagesPerChunk * kLatchBytes);
  net::Op look = net::read_op(net::Region::kMeta, latch_offset(first), latches.data(), bytes);
  execute_or_end(node_, node_.self, frees);
  execute_or_end(node_, node_.self, {&look, 1});
  count(node_.stats->chunk_shared);
  trace(TraceEvent::kShareChunk, first);
  for (std::uint32_t at = 0, end = 0; at < kPagesPerChunk; at = end) {
    const NodeSet waiters = latches[at].waiters;
    for (end = at + 1; end < kPagesPerChunk && latches[end].waiters == waiters;) ++end;
    send_pages(node_, waiters, {proto::MessageKind::kLook, Access::kNone, 0, end - at, first + at, 0, 0});
  }
}

}  // namespace dsm::runtime
