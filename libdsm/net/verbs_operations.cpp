// One-sided chains. A chain becomes a list of work requests that is posted at once, only the last of them signalled.
// Any thread, in signal context too.
//
// Order at the target. A reliable connection executes requests in order, with these exceptions, which a fence on the
// later request excludes: a WRITE or an atomic may overtake a READ, and a WRITE may overtake an atomic.
//
// Bytes of this process go through the lane's registered buffer, unless they are few enough to travel in the request or
// lie in memory that is registered anyway. Chains that do not fit a lane go in parts.
#include <arpa/inet.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/round_trips.h"
#include "net/verbs_impl.h"

namespace dsm::net::verbs {
namespace {

constexpr std::int64_t kSpinMostNs = 150'000;
constexpr std::int64_t kSpinLeastNs = 2'000;
constexpr int kLookAgainMs = 100;
constexpr std::int64_t kHungNs = 15'000'000'000;
constexpr std::uint32_t kLineBytes = 64;

std::uint64_t remote_address(const Hello& peer, Region region, std::uint64_t offset) {
  return (region == Region::kMemory ? peer.memory_base : peer.meta_base) + offset;
}

}  // namespace

// The requests of a chain in a lane, as far as they have not run.
class Posting {
 public:
  Posting(VerbsTransport& transport, Lane& lane, NodeId node) : t_(transport), lane_(lane), node_(node) {}

  // REQUIRES: the keys of all its units are known.
  Result<void> add(Op& op) {
    if (is_atomic(op)) return add_atomic(op);
    auto* local = static_cast<std::byte*>(op.local);
    if (node_ == t_.self_ && local == t_.local_region(op.region) + op.offset) return {};  // is there already
    for (std::uint64_t at = op.offset, end = at + op.bytes; at < end;) {
      const Unit unit = t_.units_.at(op.region, at);
      auto bytes = static_cast<std::uint32_t>(std::min(end, unit.end) - at);
      std::uint32_t lkey = 0;
      const bool inlined = op.kind == OpKind::kWrite && bytes <= lane_.inline_bytes;
      const bool direct = inlined || registered(local, bytes, lkey);
      if (!direct) bytes = std::min(bytes, static_cast<std::uint32_t>(kLaneBytes));
      if (auto room = make_room(direct ? 0 : bytes); !room) return room;
      put(op, at, unit, local, bytes, direct, lkey);
      if (inlined) lane_.requests[used_ - 1].send_flags |= IBV_SEND_INLINE;
      local += bytes;
      at += bytes;
    }
    return {};
  }

  Result<void> finish() {
    if (used_ == 0) return {};
    auto done = t_.run_or_fail(lane_, node_, used_);
    if (done) {
      for (unsigned i = 0; i < landings_; ++i) {
        const Landing& landing = lane_.landings[i];
        std::memcpy(landing.to, lane_.buffer.data() + landing.from, landing.bytes);
      }
    }
    used_ = landings_ = filled_ = 0;
    read_before_ = atomic_before_ = false;
    return done;
  }

 private:
  Result<void> make_room(std::uint32_t bytes) {
    if (used_ < kLaneDepth && filled_ + bytes <= kLaneBytes) return {};
    return finish();
  }

  // Bytes of this node's own regions that are registered for others serve as they are.
  bool registered(const std::byte* local, std::uint32_t bytes, std::uint32_t& lkey) const {
    const std::byte* const base = t_.local_region(Region::kMemory);
    if (local < base || local >= base + t_.sizes_[0]) return false;
    const auto offset = static_cast<std::uint64_t>(local - base);
    const Unit unit = t_.units_.at(Region::kMemory, offset);
    return offset + bytes <= unit.end && t_.own_->local_key(unit.index, lkey);
  }

  std::uint32_t take_buffer(std::uint32_t bytes) {
    const std::uint32_t at = filled_;
    filled_ = (filled_ + bytes + kLineBytes - 1) & ~(kLineBytes - 1);
    return at;
  }

  ibv_send_wr& next(ibv_wr_opcode opcode, const void* local, std::uint32_t bytes, std::uint32_t lkey) {
    ibv_sge& piece = lane_.pieces[used_];
    ibv_send_wr& request = lane_.requests[used_];
    piece = {reinterpret_cast<std::uint64_t>(local), bytes, lkey};
    request = {};
    request.opcode = opcode;
    request.sg_list = &piece;
    request.num_sge = 1;
    const bool reads = opcode == IBV_WR_RDMA_READ;
    const bool writes = opcode == IBV_WR_RDMA_WRITE;
    if ((!reads && read_before_) || (writes && atomic_before_)) {
      request.send_flags = IBV_SEND_FENCE;
      read_before_ = atomic_before_ = false;
    }
    read_before_ |= reads;
    atomic_before_ |= !reads && !writes;
    ++used_;
    return request;
  }

  void put(const Op& op, std::uint64_t at, const Unit& unit, std::byte* local, std::uint32_t bytes, bool direct,
           std::uint32_t lkey) {
    const bool reads = op.kind == OpKind::kRead;
    const std::byte* from = local;
    if (!direct) {
      const std::uint32_t place = take_buffer(bytes);
      from = lane_.buffer.data() + place;
      lkey = lane_.buffer.lkey();
      if (reads) {
        lane_.landings[landings_++] = {local, place, bytes};
      } else {
        std::memcpy(lane_.buffer.data() + place, local, bytes);
      }
    }
    ibv_send_wr& request = next(reads ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE, from, bytes, lkey);
    request.wr.rdma.remote_addr = remote_address(t_.peers_[node_], op.region, at);
    request.wr.rdma.rkey = rkey(unit);
  }

  Result<void> add_atomic(Op& op) {
    if (auto room = make_room(sizeof op.old); !room) return room;
    const std::uint32_t place = take_buffer(sizeof op.old);
    lane_.landings[landings_++] = {&op.old, place, sizeof op.old};
    const bool swaps = op.kind == OpKind::kCompareAndSwap;
    ibv_send_wr& request = next(swaps ? IBV_WR_ATOMIC_CMP_AND_SWP : IBV_WR_ATOMIC_FETCH_AND_ADD,
                                lane_.buffer.data() + place, sizeof op.old, lane_.buffer.lkey());
    request.wr.atomic.remote_addr = remote_address(t_.peers_[node_], op.region, op.offset);
    request.wr.atomic.rkey = rkey(t_.units_.at(op.region, op.offset));
    request.wr.atomic.compare_add = swaps ? op.expected : op.operand;
    request.wr.atomic.swap = op.operand;
    return {};
  }

  std::uint32_t rkey(const Unit& unit) const {
    return unpack_key(t_.known_[node_][unit.index].load(std::memory_order_relaxed)).rkey;
  }

  VerbsTransport& t_;
  Lane& lane_;
  const NodeId node_;
  unsigned used_ = 0;
  unsigned landings_ = 0;
  std::uint32_t filled_ = 0;  // of the buffer
  bool read_before_ = false;  // since the last fence
  bool atomic_before_ = false;
};

// Reads see what the card has written; anything else must go through it, unless its atomics are the CPU's too.
bool VerbsTransport::on_cpu(NodeId node, std::span<const Op> chain) const {
  if (node != self_) return false;
  return cpu_atomics_agree() ||
         std::all_of(chain.begin(), chain.end(), [](const Op& op) { return op.kind == OpKind::kRead; });
}

Lane& VerbsTransport::take_lane() {
  const auto first = static_cast<unsigned>(current_tid()) % kLanes;
  for (unsigned i = 0; i < kLanes; ++i) {
    Lane& lane = lanes_[(first + i) % kLanes];
    if (lane.lock.try_lock()) return lane;
  }
  lanes_[first].lock.lock();
  return lanes_[first];
}

Result<void> VerbsTransport::execute(NodeId node, std::span<Op> chain) {
  DSM_CHECK(node < nodes_, "node {} of {}", node, nodes_);
  for (const Op& op : chain) check_bounds(op, node, sizes_);
  if (contains(failed(), node)) return fail(Errc::kPeerDown, "the connection to the node is broken");
  if (on_cpu(node, chain)) {
    run_on_cpu(chain, bases_);
    return {};
  }
  if (node != self_) round_trips.fetch_add(1, std::memory_order_relaxed);
  Lane& lane = take_lane();
  const std::lock_guard guard(lane.lock, std::adopt_lock);
  if (auto known = learn_keys(lane, node, chain); !known) return known;
  Posting posting(*this, lane, node);
  for (Op& op : chain) {
    if (auto added = posting.add(op); !added) return added;
  }
  return posting.finish();
}

// --- one list of requests -------------------------------------------------------------------------------------------

// Posts the lane's first requests, and waits until all are through or have failed.
ibv_wc_status VerbsTransport::run(Lane& lane, NodeId node, unsigned requests) {
  ++lane.number;
  for (unsigned i = 0; i < requests; ++i) {
    lane.requests[i].wr_id = lane.number << 1;
    if (i + 1 < requests) lane.requests[i].next = &lane.requests[i + 1];
  }
  ibv_send_wr& last = lane.requests[requests - 1];
  last.wr_id |= 1;
  last.next = nullptr;
  last.send_flags |= IBV_SEND_SIGNALED;
  ibv_send_wr* refused = nullptr;
  const int error = ibv_post_send(lane.pairs[node].get(), lane.requests.data(), &refused);
  DSM_CHECK(error == 0, "ibv_post_send of {} requests: errno {}", requests, error);
  operations_.fetch_add(requests, std::memory_order_relaxed);
  chains_.fetch_add(1, std::memory_order_relaxed);
  return await(lane, node);
}

// Spins for about as long as chains take here, then sleeps. A queue pair that does not report at all is put to an end.
ibv_wc_status VerbsTransport::await(Lane& lane, NodeId node) {
  const std::int64_t start = now_ns();
  const std::int64_t expected = lane.usual_ns + lane.usual_ns / 2;
  std::int64_t spin_until = start + (expected > kSpinMostNs ? kSpinLeastNs : std::max(expected, kSpinLeastNs));
  bool armed = false, ended = false;
  ibv_wc_status status = IBV_WC_SUCCESS;
  for (;;) {
    ibv_wc completion{};
    const int found = ibv_poll_cq(lane.completions.get(), 1, &completion);
    DSM_CHECK(found >= 0, "ibv_poll_cq: {}", found);
    if (found == 1) {
      if (completion.wr_id >> 1 != lane.number) continue;  // of an earlier chain that failed
      if (status == IBV_WC_SUCCESS) status = completion.status;
      if ((completion.wr_id & 1) == 0) continue;
      lane.usual_ns += (now_ns() - start - lane.usual_ns) / 8;
      return status;
    }
    const std::int64_t now = now_ns();
    if (now < spin_until) {
      cpu_relax();
      continue;
    }
    if (now - start > kHungNs && !ended) {
      ibv_qp_attr attr{};
      attr.qp_state = IBV_QPS_ERR;
      library_.modify_qp(lane.pairs[node].get(), &attr, IBV_QP_STATE);
      ended = true;
    }
    if (armed) block(lane);
    ibv_req_notify_cq(lane.completions.get(), 0);
    armed = true;  // and look once more
  }
}

void VerbsTransport::block(Lane& lane) {
  pollfd event{lane.channel->fd, POLLIN, 0};
  if (::poll(&event, 1, kLookAgainMs) <= 0) return;
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  if (library_.get_cq_event(lane.channel.get(), &queue, &context) == 0) library_.ack_cq_events(queue, 1);
}

Result<void> VerbsTransport::run_or_fail(Lane& lane, NodeId node, unsigned requests) {
  const int saved_errno = errno;
  const ibv_wc_status status = run(lane, node, requests);
  errno = saved_errno;
  if (status == IBV_WC_SUCCESS) return {};
  give_up(node, status);
  return fail(Errc::kPeerDown, status_text(status));
}

// --- keys -----------------------------------------------------------------------------------------------------------

Result<void> VerbsTransport::learn_keys(Lane& lane, NodeId node, std::span<const Op> chain) {
  for (const Op& op : chain) {
    const std::uint64_t bytes = is_atomic(op) ? 8 : op.bytes;
    for (std::uint64_t at = op.offset, end = at + bytes; at < end;) {
      const Unit unit = units_.at(op.region, at);
      if (known_[node][unit.index].load(std::memory_order_relaxed) == 0) [[unlikely]] {
        if (auto learnt = learn_key(lane, node, unit); !learnt) return learnt;
      }
      at = unit.end;
    }
  }
  return {};
}

// Reads the home's table; if nothing is there yet, asks for it and reads until it is. Each READ shows whether the
// home's machine is alive.
Result<void> VerbsTransport::learn_key(Lane& lane, NodeId node, const Unit& unit) {
  constexpr std::int64_t kMostNs = 1'000'000;
  std::atomic<std::uint32_t> never{0};
  for (std::int64_t pause_ns = 0;; pause_ns = std::min(2 * pause_ns + 10'000, kMostNs)) {
    if (pause_ns != 0) futex_wait(never, 0, FutexScope::kProcess, pause_ns);
    Key key{};
    if (auto read = read_entry(lane, node, unit, key); !read) return read;
    if (key.state == KeyState::kRegistered) {
      known_[node][unit.index].store(pack(key), std::memory_order_relaxed);
      return {};
    }
    if (key.state == KeyState::kFailed) {
      return fail(Errc::kNoMemory, "the node could not register memory for RDMA; its log says why (ulimit -l?)");
    }
    if (pause_ns != 0) continue;
    if (auto asked = ask(lane, node, unit); !asked) return asked;
  }
}

Result<void> VerbsTransport::read_entry(Lane& lane, NodeId node, const Unit& unit, Key& key) {
  if (node == self_) {
    key = own_->key(unit.index);
    return {};
  }
  lane.pieces[0] = {reinterpret_cast<std::uint64_t>(lane.buffer.data()), sizeof(std::uint64_t), lane.buffer.lkey()};
  ibv_send_wr& request = lane.requests[0];
  request = {};
  request.opcode = IBV_WR_RDMA_READ;
  request.sg_list = lane.pieces.data();
  request.num_sge = 1;
  request.wr.rdma.remote_addr = peers_[node].table + unit.index * sizeof(std::uint64_t);
  request.wr.rdma.rkey = peers_[node].table_key;
  if (auto done = run_or_fail(lane, node, 1); !done) return done;
  std::uint64_t word = 0;
  std::memcpy(&word, lane.buffer.data(), sizeof word);
  key = unpack_key(word);
  return {};
}

Result<void> VerbsTransport::ask(Lane& lane, NodeId node, const Unit& unit) {
  std::memcpy(lane.buffer.data(), &unit.index, sizeof unit.index);
  lane.pieces[0] = {reinterpret_cast<std::uint64_t>(lane.buffer.data()), sizeof unit.index, lane.buffer.lkey()};
  ibv_send_wr& request = lane.requests[0];
  request = {};
  request.opcode = IBV_WR_SEND_WITH_IMM;
  request.sg_list = lane.pieces.data();
  request.num_sge = 1;
  request.imm_data = htonl(pack(MailWord{MailKind::kRegister, self_, 0}));
  return run_or_fail(lane, node, 1);
}

}  // namespace dsm::net::verbs
