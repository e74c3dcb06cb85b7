// One-sided chains: a lane for each, its volleys posted and waited for. Any thread, in signal context too.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/check.h"
#include "base/clock.h"
#include "net/round_trips.h"
#include "net/verbs_impl.h"
#include "net/verbs_posting.h"

namespace dsm::net::verbs {
namespace {

constexpr std::int64_t kSpinMostNs = 300'000;
constexpr std::int64_t kSpinLeastNs = 2'000;
constexpr int kLookAgainMs = 100;
constexpr std::int64_t kHungNs = 15'000'000'000;  // at the least; and twice what a node may be silent

}  // namespace

// Reads see what the card has written; anything else must go through it, unless its atomics are the CPU's too.
bool VerbsTransport::on_cpu(NodeId node, std::span<const Op> chain) const {
  if (node != self_) return false;
  return cpu_atomics_agree() ||
         std::all_of(chain.begin(), chain.end(), [](const Op& op) { return op.kind == OpKind::kRead; });
}

// --- lanes ----------------------------------------------------------------------------------------------------------

Lane& VerbsTransport::take_lane() {
  const auto first = static_cast<unsigned>(current_tid()) % kLanes;
  for (unsigned i = 0; i < kLanes; ++i) {
    Lane& lane = lanes_[(first + i) % kLanes];
    if (lane.lock.try_lock()) return lane;
  }
  lanes_[first].lock.lock();
  return lanes_[first];
}

Lane* VerbsTransport::take_lane_ahead() {
  for (Lane& lane : std::span(lanes_).subspan(kLanes)) {
    if (!lane.ahead.load(std::memory_order_relaxed) && !lane.ahead.exchange(true, std::memory_order_acquire)) {
      return &lane;
    }
  }
  return nullptr;
}

// --- chains ---------------------------------------------------------------------------------------------------------

// True: it is done already.
Result<bool> VerbsTransport::begin(NodeId node, std::span<Op> chain) {
  DSM_CHECK(node < nodes_, "node {} of {}", node, nodes_);
  for (const Op& op : chain) check_bounds(op, node, sizes_);
  if (contains(failed(), node)) return fail(Errc::kPeerDown, "the connection to the node is broken");
  if (on_cpu(node, chain)) {
    run_on_cpu(chain, bases_);
    return true;
  }
  if (node != self_) round_trips.fetch_add(1, std::memory_order_relaxed);
  return false;
}

Result<void> VerbsTransport::execute(NodeId node, std::span<Op> chain) {
  const auto begun = begin(node, chain);
  if (!begun) return tl::unexpected(begun.error());
  if (*begun) return {};
  Lane& lane = take_lane();
  const std::lock_guard guard(lane.lock, std::adopt_lock);
  if (auto put_in = put(lane, node, chain); !put_in) return put_in;
  return complete_all(lane, node);
}

// The ticket: 1 + the lane's number; 0: it is done.
Result<Posted> VerbsTransport::post(NodeId node, std::span<Op> chain) {
  Lane* const lane = take_lane_ahead();
  if (lane == nullptr) return Transport::post(node, chain);
  const auto begun = begin(node, chain);
  Result<void> put_in;
  if (begun && !*begun) put_in = put(*lane, node, chain);
  const bool on_its_way =
      std::any_of(lane->volleys.begin(), lane->volleys.end(), [](const Volley& v) { return v.number != 0; });
  if (on_its_way) return Posted{static_cast<std::uint64_t>(lane - lanes_.data()) + 1};
  lane->ahead.store(false, std::memory_order_release);
  if (!begun) return tl::unexpected(begun.error());
  if (!put_in) return tl::unexpected(put_in.error());
  return Posted{};
}

Result<void> VerbsTransport::finish(NodeId node, Posted posted) {
  if (posted.ticket == 0) return {};
  DSM_CHECK(posted.ticket > kLanes && posted.ticket <= kAllLanes, "ticket {}", posted.ticket);
  Lane& lane = lanes_[posted.ticket - 1];
  DSM_CHECK(lane.ahead.load(std::memory_order_relaxed), "a chain that was not posted");
  const auto done = complete_all(lane, node);
  lane.ahead.store(false, std::memory_order_release);
  return done;
}

// All of it is on its way then, or through; after a failure nothing is.
Result<void> VerbsTransport::put(Lane& lane, NodeId node, std::span<Op> chain) {
  if (auto known = learn_keys(lane, node, chain); !known) return known;
  Posting posting(*this, lane, node);
  for (Op& op : chain) {
    if (auto added = posting.add(op); !added) {
      static_cast<void>(complete_all(lane, node));
      return added;
    }
  }
  posting.end();
  return {};
}

// --- volleys --------------------------------------------------------------------------------------------------------

void VerbsTransport::fire(Lane& lane, NodeId node, Volley& volley) {
  volley.number = ++lane.number;
  for (unsigned i = 0; i < volley.requests; ++i) {
    volley.request[i].wr_id = volley.number << 1;
    if (i + 1 < volley.requests) volley.request[i].next = &volley.request[i + 1];
  }
  ibv_send_wr& last = volley.request[volley.requests - 1];
  last.wr_id |= 1;
  last.next = nullptr;
  last.send_flags |= IBV_SEND_SIGNALED;
  ibv_send_wr* refused = nullptr;
  const int saved_errno = errno;
  const int error = ibv_post_send(lane.pairs[node].get(), volley.request.data(), &refused);
  errno = saved_errno;
  DSM_CHECK(error == 0, "ibv_post_send of {} requests: errno {}", volley.requests, error);
  operations_.fetch_add(volley.requests, std::memory_order_relaxed);
  chains_.fetch_add(1, std::memory_order_relaxed);
}

// Spins for about as long as that takes here, then sleeps. A queue pair that does not report at all is put to an end.
ibv_wc_status VerbsTransport::await(Lane& lane, NodeId node, const Volley& volley) {
  const std::int64_t start = now_ns();
  const std::int64_t expected = lane.usual_ns + lane.usual_ns / 2;
  const std::int64_t spin_until = start + (expected > kSpinMostNs ? kSpinLeastNs : std::max(expected, kSpinLeastNs));
  bool armed = false, ended = false;
  ibv_wc_status status = IBV_WC_SUCCESS;
  for (;;) {
    ibv_wc completion{};
    const int found = ibv_poll_cq(lane.completions.get(), 1, &completion);
    DSM_CHECK(found >= 0, "ibv_poll_cq: {}", found);
    if (found == 1) {
      DSM_CHECK(completion.wr_id >> 1 == volley.number, "volley {}, not {}", completion.wr_id >> 1, volley.number);
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
    if (now - start > std::max(kHungNs, 2'000'000 * std::int64_t{dead_after_ms_}) && !ended) {
      end_pair(lane.pairs[node].get());
      ended = true;
    }
    if (armed) block(lane);
    ibv_req_notify_cq(lane.completions.get(), 0);
    armed = true;  // and look once more
  }
}

void VerbsTransport::end_pair(ibv_qp* pair) const {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_ERR;
  library_.modify_qp(pair, &attr, IBV_QP_STATE);
}

void VerbsTransport::block(Lane& lane) {
  pollfd event{lane.channel->fd, POLLIN, 0};
  if (::poll(&event, 1, kLookAgainMs) <= 0) return;
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  if (library_.get_cq_event(lane.channel.get(), &queue, &context) == 0) library_.ack_cq_events(queue, 1);
}

// The volley is free then.
Result<void> VerbsTransport::complete(Lane& lane, NodeId node, Volley& volley) {
  if (volley.number == 0) return {};
  const int saved_errno = errno;
  const ibv_wc_status status = await(lane, node, volley);
  errno = saved_errno;
  if (status == IBV_WC_SUCCESS) {
    for (const Landing& landing : std::span(volley.landing).first(volley.landings)) {
      std::memcpy(landing.to, volley.buffer + landing.from, landing.bytes);
    }
  }
  for (const unsigned place : std::span(volley.lent_place).first(volley.lent)) lent_.done(place);
  volley.number = 0;
  volley.requests = volley.landings = volley.lent = volley.filled = 0;
  if (status == IBV_WC_SUCCESS) return {};
  give_up(node, status);
  return fail(Errc::kPeerDown, status_text(status));
}

// The older volley first; the first failure.
Result<void> VerbsTransport::complete_all(Lane& lane, NodeId node) {
  Volley *first = &lane.volleys[0], *second = &lane.volleys[1];
  if (first->number > second->number) std::swap(first, second);
  const auto one = complete(lane, node, *first);
  const auto two = complete(lane, node, *second);
  return one ? two : one;
}

}  // namespace dsm::net::verbs
