// Set-up: maps this node's regions, makes queues for every node, exchanges where everything is, and connects. Runs
// once, before any thread uses the transport.
#include "net/verbs_transport.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/sparse.h"
#include "net/verbs_impl.h"

namespace dsm::net {
namespace verbs {
namespace {

// What is this small is registered at once.
constexpr std::uint64_t kExposedAtStart = 4 << 20;

unsigned receives(unsigned nodes) { return nodes * (kWindow + kCreditsOnWay); }
unsigned requests(unsigned nodes) { return nodes * kLanes * 4; }

}  // namespace

VerbsTransport::VerbsTransport(const VerbsParams& params, Device device, Mapping memory, Mapping meta)
    : self_(params.self),
      nodes_(params.nodes),
      sizes_{params.memory_bytes, params.meta_bytes},
      dead_after_ms_(params.dead_after_ms),
      device_(std::move(device)),
      library_(device_.library()),
      memory_(std::move(memory)),
      meta_(std::move(meta)),
      bases_{memory_.data(), meta_.data()},
      units_(sizes_, params.interleaved_from, device_.pages_on_demand()),
      lent_(device_, params.lent_bytes),
      outboxes_(nodes_),
      inboxes_(nodes_) {}

VerbsTransport::~VerbsTransport() {
  if (attendant_.joinable()) {
    ending_.store(true);
    ring_attendant();
    attendant_.join();
  }
  for (const int fd : {bell_fds_[0], bell_fds_[1], attendant_fd_}) {
    if (fd >= 0) ::close(fd);
  }
  for (auto* const table : known_) {
    if (table != nullptr) ::munmap(table, units_.count() * sizeof(std::uint64_t));
  }
}

Result<std::unique_ptr<VerbsTransport>> VerbsTransport::make(const VerbsParams& params) {
  auto device = Device::open(params);
  if (!device) return tl::unexpected(device.error());
  auto memory = Mapping::map(params.memory_fd, params.memory_bytes);
  if (!memory) return tl::unexpected(memory.error());
  auto meta = Mapping::map(params.meta_fd, params.meta_bytes);
  if (!meta) return tl::unexpected(meta.error());
  std::unique_ptr<VerbsTransport> made(
      new VerbsTransport(params, std::move(*device), std::move(*memory), std::move(*meta)));
  auto own = OwnUnits::make(made->device_, made->units_, made->bases_, made->device_.pages_on_demand());
  if (!own) return tl::unexpected(own.error());
  made->own_ = std::move(*own);
  for (const auto step : {&VerbsTransport::make_lanes, &VerbsTransport::make_mail, &VerbsTransport::make_control}) {
    if (auto done = (made.get()->*step)(); !done) return tl::unexpected(done.error());
  }
  for (const Region region : {Region::kMemory, Region::kMeta}) {
    const std::uint64_t bytes = made->sizes_[static_cast<std::size_t>(region)];
    if (bytes <= kExposedAtStart || made->device_.pages_on_demand()) made->expose(region, 0, bytes);
  }
  if (auto met = made->introduce(params.exchange); !met) return tl::unexpected(met.error());
  log(LogLevel::kInfo, "net", "RDMA device {} port {} GID index {}, atomics {}", made->device_.name(),
      made->device_.port_number(), made->device_.gid_index(),
      made->cpu_atomics_agree() ? "agree with the CPU's" : "through the card only");
  return made;
}

Result<void> VerbsTransport::make_lanes() {
  for (Lane& lane : lanes_) {
    auto channel = make_channel(device_);
    if (!channel) return tl::unexpected(channel.error());
    auto queue = make_cq(device_, kVolleys * kVolleyDepth, channel->get());
    if (!queue) return tl::unexpected(queue.error());
    auto buffer = Buffer::make(device_, kVolleys * kVolleyBytes);
    if (!buffer) return tl::unexpected(buffer.error());
    lane.channel = std::move(*channel);
    lane.completions = std::move(*queue);
    lane.buffer = std::move(*buffer);
    for (unsigned i = 0; i < kVolleys; ++i) lane.volleys[i].buffer = lane.buffer.data() + i * kVolleyBytes;
  }
  return {};
}

Result<void> VerbsTransport::make_mail() {
  const unsigned slots = receives(nodes_);
  auto mail = Receiver::make(device_, slots);
  if (!mail) return tl::unexpected(mail.error());
  mail_ = std::move(*mail);
  auto sends = make_cq(device_, nodes_ * kMailDepth + 1, mail_.channel.get());
  if (!sends) return tl::unexpected(sends.error());
  sends_cq_ = std::move(*sends);
  ibv_req_notify_cq(sends_cq_.get(), 0);  // failures, too
  arrivals_.resize(slots);
  for (int& fd : bell_fds_) fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  attendant_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (bell_fds_[0] < 0 || bell_fds_[1] < 0 || attendant_fd_ < 0)
    return fail(Errc::kSystem, "cannot make an eventfd", errno);
  return {};
}

Result<void> VerbsTransport::make_control() {
  const unsigned slots = std::min(requests(nodes_), static_cast<unsigned>(device_.limits().max_srq_wr));
  auto control = Receiver::make(device_, slots);
  if (!control) return tl::unexpected(control.error());
  control_ = std::move(*control);

  for (unsigned node = 0; node < nodes_; ++node) {
    for (Lane& lane : lanes_) {
      auto pair = make_qp(
          device_,
          {lane.completions.get(), control_.completions.get(), control_.srq.get(), kVolleys * kVolleyDepth, kSlotBytes},
          lane.inline_bytes);
      if (!pair) return tl::unexpected(pair.error());
      lane.pairs.push_back(std::move(*pair));
    }
    if (node == self_) continue;
    Outbox& box = outboxes_[node];
    auto pair = make_qp(device_, {sends_cq_.get(), mail_.completions.get(), mail_.srq.get(), kMailDepth, kSlotBytes},
                        mail_inline_);
    if (!pair) return tl::unexpected(pair.error());
    box.pair = std::move(*pair);
    if (mail_inline_ >= kMaxMessageBytes) continue;
    auto sending = Buffer::make(device_, kMailDepth * kSlotBytes);
    if (!sending) return tl::unexpected(sending.error());
    box.slots = std::move(*sending);
  }
  return {};
}

Hello VerbsTransport::hello() const {
  Hello hello{};
  hello.magic = kMagic;
  hello.version = kVersion;
  hello.nodes = nodes_;
  hello.table_key = own_->table_key();
  hello.address = address_of(device_);
  hello.memory_bytes = sizes_[0];
  hello.meta_bytes = sizes_[1];
  hello.memory_base = reinterpret_cast<std::uint64_t>(bases_[0]);
  hello.meta_base = reinterpret_cast<std::uint64_t>(bases_[1]);
  hello.table = own_->table_address();
  hello.units = units_.count();
  for (unsigned node = 0; node < nodes_; ++node) {
    for (unsigned lane = 0; lane < kAllLanes; ++lane) hello.lanes[lane][node] = lanes_[lane].pairs[node]->qp_num;
    if (node != self_) hello.mail[node] = outboxes_[node].pair->qp_num;
  }
  return hello;
}

// Two exchanges: where everything is, and that everybody is ready to receive.
Result<void> VerbsTransport::introduce(const Exchange& exchange) {
  const Hello mine = hello();
  auto all = exchange(std::as_bytes(std::span(&mine, 1)));
  if (!all) return tl::unexpected(all.error());
  if (auto met = meet(*all); !met) return met;
  {
    const SignalsBlocked blocked;  // inherited: no handler of the program runs on it
    attendant_ = std::thread([this] { attend(); });
  }
  const std::byte ready{1};
  auto others = exchange({&ready, 1});
  if (!others) return tl::unexpected(others.error());
  return {};
}

Result<void> VerbsTransport::meet(const std::vector<std::vector<std::byte>>& all) {
  if (all.size() != nodes_) return fail(Errc::kProtocol, "not all nodes take part in the job");
  for (unsigned node = 0; node < nodes_; ++node) {
    Hello peer{};
    if (all[node].size() != sizeof peer) {
      return fail(Errc::kProtocol, "a node introduces itself otherwise; start all nodes with the same libdsm");
    }
    std::memcpy(&peer, all[node].data(), sizeof peer);
    if (peer.magic != kMagic || peer.version != kVersion || peer.nodes != nodes_ || peer.units != units_.count() ||
        peer.memory_bytes != sizes_[0] || peer.meta_bytes != sizes_[1]) {
      return fail(Errc::kProtocol,
                  "a node has another version of libdsm, another geometry or another kind of RDMA device; start all "
                  "nodes with the same options");
    }
    if ((peer.address.ethernet != 0) != device_.ethernet()) {
      return fail(Errc::kNoSupport,
                  "one node is on InfiniBand and another on RoCE; choose devices with DSM_RDMA_DEVICE");
    }
    if (peer.address.mtu < IBV_MTU_256 || peer.address.mtu > IBV_MTU_4096) {
      return fail(Errc::kProtocol, "a node reports an impossible MTU");
    }
    peers_.push_back(peer);
    known_.push_back(map_sparse<std::atomic<std::uint64_t>>(units_.count(), AtFork::kAbsent));
    if (known_.back() == nullptr) return fail(Errc::kNoMemory, "no address space for the keys of a node", errno);
    if (auto connected = connect_to(static_cast<NodeId>(node), peer); !connected) return connected;
  }
  return {};
}

Result<void> VerbsTransport::connect_to(NodeId node, const Hello& peer) {
  for (unsigned lane = 0; lane < kAllLanes; ++lane) {
    auto done = connect(device_, lanes_[lane].pairs[node].get(), peer.address, peer.lanes[lane][self_], dead_after_ms_);
    if (!done) return done;
  }
  if (node == self_) return {};
  return connect(device_, outboxes_[node].pair.get(), peer.address, peer.mail[self_], dead_after_ms_);
}

void VerbsTransport::expose(Region region, std::uint64_t offset, std::uint64_t bytes) {
  for (const std::uint64_t end = offset + bytes; offset < end;) {
    const Unit unit = units_.at(region, offset);
    own_->expose(unit);
    offset = unit.end;
  }
}

void VerbsTransport::lend(std::byte* at, std::size_t bytes) { lent_.lend(at, bytes); }

void VerbsTransport::unmap_lent(std::byte* at, std::size_t bytes) {
  if (lent_.unmap(at, bytes)) ring_attendant();
}

void VerbsTransport::break_pairs(NodeId node) {
  for (const Lane& lane : lanes_) end_pair(lane.pairs[node].get());
  if (node != self_) end_pair(outboxes_[node].pair.get());
}

VerbsCounters VerbsTransport::counters() const {
  return {operations_.load(std::memory_order_relaxed), chains_.load(std::memory_order_relaxed),
          own_->registered_bytes(), lent_.registered_bytes()};
}

}  // namespace verbs

Result<std::unique_ptr<Transport>> make_verbs_transport(const VerbsParams& params) {
  if (params.nodes == 0 || params.nodes > kMaxNodes) {
    return fail(Errc::kBadOption, "the number of nodes must be from 1 to 48");
  }
  DSM_CHECK(params.self < params.nodes, "node {} of {}", params.self, params.nodes);
  DSM_CHECK(params.memory_bytes > 0 && params.meta_bytes > 0 && params.exchange);
  auto made = verbs::VerbsTransport::make(params);
  if (!made) return tl::unexpected(made.error());
  return std::unique_ptr<Transport>(std::move(*made));
}

VerbsCounters verbs_counters(const Transport& transport) {
  const auto* const verbs = dynamic_cast<const verbs::VerbsTransport*>(&transport);
  return verbs != nullptr ? verbs->counters() : VerbsCounters{};
}

void verbs_break(Transport& transport, NodeId node) {
  dynamic_cast<verbs::VerbsTransport&>(transport).break_pairs(node);
}

}  // namespace dsm::net
