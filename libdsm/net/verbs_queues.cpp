#include "net/verbs_queues.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace dsm::net::verbs {
namespace {

constexpr std::uint8_t kRetries = 6;         // soft-RoCE takes 7 for ever
constexpr std::uint8_t kForEver = 7;         // of rnr_retry: until the receiver has a buffer
constexpr std::uint8_t kReceiverWaits = 12;  // 0.64 ms between two tries
constexpr std::uint32_t kPacketNumbers = 0xffffff;

// The timeout whose seven tries last about as long as asked for: 4.096 us * 2^n each.
std::uint8_t timeout_for(std::int64_t dead_after_ms) {
  std::uint8_t exponent = 8;
  while (exponent < 22 && ((4096LL << exponent) * (kRetries + 1)) < dead_after_ms * 1'000'000) ++exponent;
  return exponent;
}

}  // namespace

Result<Channel> make_channel(const Device& device) {
  Channel channel(device.library().create_channel(device.context()), Ender{&device.library()});
  if (channel == nullptr) return fail(Errc::kSystem, "the RDMA device gives no event channel", errno);
  const int flags = ::fcntl(channel->fd, F_GETFL);
  if (flags < 0 || ::fcntl(channel->fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail(Errc::kSystem, "an event channel cannot be made not to block", errno);
  }
  return channel;
}

Result<CompletionQueue> make_cq(const Device& device, unsigned entries, ibv_comp_channel* channel) {
  if (entries > static_cast<unsigned>(device.limits().max_cqe)) {
    return fail(Errc::kNoSupport, "the RDMA device's completion queues are too short for so many nodes");
  }
  CompletionQueue queue(device.library().create_cq(device.context(), static_cast<int>(entries), nullptr, channel, 0),
                        Ender{&device.library()});
  if (queue == nullptr) return fail(Errc::kSystem, "the RDMA device gives no completion queue", errno);
  return queue;
}

Result<SharedReceives> make_srq(const Device& device, unsigned entries) {
  if (entries > static_cast<unsigned>(device.limits().max_srq_wr)) {
    return fail(Errc::kNoSupport, "the RDMA device's shared receive queues are too short for so many nodes");
  }
  ibv_srq_init_attr wanted{};
  wanted.attr.max_wr = entries;
  wanted.attr.max_sge = 1;
  SharedReceives queue(device.library().create_srq(device.domain(), &wanted), Ender{&device.library()});
  if (queue == nullptr) return fail(Errc::kSystem, "the RDMA device gives no shared receive queue", errno);
  return queue;
}

Result<Receiver> Receiver::make(const Device& device, unsigned slots) {
  auto channel = make_channel(device);
  if (!channel) return tl::unexpected(channel.error());
  auto completions = make_cq(device, slots + 1, channel->get());
  if (!completions) return tl::unexpected(completions.error());
  auto srq = make_srq(device, slots);
  if (!srq) return tl::unexpected(srq.error());
  auto buffer = Buffer::make(device, slots * kSlotBytes);
  if (!buffer) return tl::unexpected(buffer.error());
  Receiver made{std::move(*channel), std::move(*completions), std::move(*srq), std::move(*buffer)};
  for (std::uint32_t number = 0; number < slots; ++number) made.post(number);
  ibv_req_notify_cq(made.completions.get(), 0);
  return made;
}

void Receiver::post(std::uint32_t number) {
  ibv_sge piece{reinterpret_cast<std::uint64_t>(slot(number)), kSlotBytes, slots.lkey()};
  ibv_recv_wr request{number, nullptr, &piece, 1};
  ibv_recv_wr* refused = nullptr;
  const int error = ibv_post_srq_recv(srq.get(), &request, &refused);
  DSM_CHECK(error == 0, "ibv_post_srq_recv: errno {}", error);
}

Result<QueuePair> make_qp(const Device& device, const QueuePairShape& shape, unsigned& got_inline) {
  if (shape.depth > static_cast<unsigned>(device.limits().max_qp_wr)) {
    return fail(Errc::kNoSupport, "the RDMA device's send queues are too short");
  }
  for (unsigned inline_bytes = shape.inline_bytes;; inline_bytes /= 2) {
    ibv_qp_init_attr wanted{};
    wanted.send_cq = shape.sends;
    wanted.recv_cq = shape.receives;
    wanted.srq = shape.srq;
    wanted.qp_type = IBV_QPT_RC;
    wanted.cap.max_send_wr = shape.depth;
    wanted.cap.max_send_sge = 1;
    wanted.cap.max_inline_data = inline_bytes;
    QueuePair pair(device.library().create_qp(device.domain(), &wanted), Ender{&device.library()});
    if (pair != nullptr) {
      got_inline = wanted.cap.max_inline_data;
      return pair;
    }
    if (inline_bytes == 0) return fail(Errc::kSystem, "the RDMA device gives no queue pair", errno);
  }
}

Address address_of(const Device& device) {
  const auto at_most = [](int value) { return static_cast<std::uint8_t>(std::clamp(value, 1, 128)); };
  return {.gid = device.gid(),
          .lid = device.port().lid,
          .mtu = static_cast<std::uint8_t>(device.port().active_mtu),
          .reads_as_target = at_most(device.limits().max_qp_rd_atom),
          .reads_as_initiator = at_most(device.limits().max_qp_init_rd_atom),
          .ethernet = device.ethernet(),
          .pad = {}};
}

Result<void> connect(const Device& device, ibv_qp* qp, const Address& peer, std::uint32_t peer_qp,
                     std::int64_t dead_after_ms) {
  const Library& library = device.library();
  const Address here = address_of(device);
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_INIT;
  attr.port_num = device.port_number();
  attr.qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC;
  const int no_init =
      library.modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  if (no_init != 0) return fail(Errc::kSystem, "a queue pair cannot be initialised", no_init);
  attr = {};
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = static_cast<ibv_mtu>(std::min(here.mtu, peer.mtu));
  attr.dest_qp_num = peer_qp;
  attr.rq_psn = peer_qp & kPacketNumbers;
  attr.max_dest_rd_atomic = std::min(here.reads_as_target, peer.reads_as_initiator);
  attr.min_rnr_timer = kReceiverWaits;
  attr.ah_attr.dlid = peer.lid;
  attr.ah_attr.port_num = device.port_number();
  const bool other_subnet = peer.gid.global.subnet_prefix != here.gid.global.subnet_prefix;
  attr.ah_attr.is_global = device.ethernet() || other_subnet || (device.port().flags & IBV_QPF_GRH_REQUIRED) != 0;
  attr.ah_attr.grh.dgid = peer.gid;
  attr.ah_attr.grh.sgid_index = device.gid_index();
  attr.ah_attr.grh.hop_limit = 64;
  const int no_route = library.modify_qp(qp, &attr,
                                         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                                             IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  if (no_route != 0) {
    return fail(Errc::kSystem,
                "no route to a node over RDMA; do its and this node's GIDs lie in one network (DSM_RDMA_GID)?",
                no_route);
  }
  attr = {};
  attr.qp_state = IBV_QPS_RTS;
  attr.timeout = timeout_for(dead_after_ms);
  attr.retry_cnt = kRetries;
  attr.rnr_retry = kForEver;
  attr.sq_psn = qp->qp_num & kPacketNumbers;
  attr.max_rd_atomic = std::min(here.reads_as_initiator, peer.reads_as_target);
  const int not_ready = library.modify_qp(
      qp, &attr,
      IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
  if (not_ready != 0) return fail(Errc::kSystem, "a queue pair cannot be made ready to send", not_ready);
  return {};
}

}  // namespace dsm::net::verbs
