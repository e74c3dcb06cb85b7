// Set-up: maps every node's regions and finds the rings in them. Runs once, before any thread uses the transport.
#include "net/shm_transport.h"

#include <utility>

#include "base/check.h"
#include "net/shm_impl.h"

namespace dsm::net {
namespace shm {

ShmTransport::ShmTransport(NodeId self, const ShmParams& params, const Emulation& emulation, std::vector<View> views)
    : self_(self),
      nodes_(static_cast<unsigned>(views.size())),
      sizes_{params.memory_bytes, params.meta_bytes},
      emulation_(emulation),
      views_(std::move(views)),
      outboxes_(nodes_),
      inboxes_(nodes_) {
  for (unsigned node = 0; node < nodes_; ++node) {
    outboxes_[node].ring = &views_[node].mailbox->ring(self_);
    inboxes_[node].ring = &views_[self_].mailbox->ring(static_cast<NodeId>(node));
  }
}

namespace {

Result<View> map_node(const ShmNode& node, const ShmParams& params) {
  const auto nodes = static_cast<unsigned>(params.nodes.size());
  View view;
  auto memory = Mapping::map(node.memory_fd, params.memory_bytes);
  if (!memory) return tl::unexpected(memory.error());
  // Of a node that has no others nobody else reads it.
  const std::uint64_t meta_bytes = shm_meta_file_bytes(params.meta_bytes, nodes);
  auto meta = nodes == 1 ? Mapping::map_private(meta_bytes) : Mapping::map(node.meta_fd, meta_bytes);
  if (!meta && nodes == 1) meta = Mapping::map(node.meta_fd, meta_bytes);  // limits on private memory do not count it
  if (!meta) return tl::unexpected(meta.error());
  view.memory = std::move(*memory);
  view.meta = std::move(*meta);
  view.mailbox = reinterpret_cast<Mailbox*>(view.meta.data() + mailbox_offset(params.meta_bytes));

  std::uint64_t found = 0;
  if (!view.mailbox->stamp.compare_exchange_strong(found, stamp(nodes)) && found != stamp(nodes)) {
    return fail(Errc::kProtocol, "a node's message rings have another layout; start all nodes with the same libdsm");
  }
  return view;
}

}  // namespace
}  // namespace shm

std::uint64_t shm_meta_file_bytes(std::uint64_t meta_bytes, unsigned nodes) {
  return shm::mailbox_offset(meta_bytes) + shm::mailbox_bytes(nodes);
}

Result<std::unique_ptr<Transport>> make_shm_transport(const ShmParams& params) {
  if (params.nodes.empty() || params.nodes.size() > kMaxNodes) {
    return fail(Errc::kBadOption, "the number of nodes must be from 1 to 48");
  }
  DSM_CHECK(params.self < params.nodes.size(), "node {} of {}", params.self, params.nodes.size());
  DSM_CHECK(params.memory_bytes > 0 && params.meta_bytes > 0);
  const auto emulation = parse_emulation(params.emulate);
  if (!emulation) return tl::unexpected(emulation.error());

  std::vector<shm::View> views;
  views.reserve(params.nodes.size());
  for (const ShmNode& node : params.nodes) {
    auto view = shm::map_node(node, params);
    if (!view) return tl::unexpected(view.error());
    views.push_back(std::move(*view));
  }
  return std::make_unique<shm::ShmTransport>(params.self, params, *emulation, std::move(views));
}

}  // namespace dsm::net
