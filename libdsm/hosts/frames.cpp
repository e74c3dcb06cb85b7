#include "hosts/frames.h"

#include <cstring>

namespace dsm::hosts {

std::vector<std::byte> pack(const NodeShares& shares) {
  std::vector<std::byte> packed;
  for (const auto& [node, bytes] : shares) {
    const ShareHead head{node, static_cast<std::uint32_t>(bytes.size())};
    const auto head_bytes = std::as_bytes(std::span(&head, 1));
    packed.insert(packed.end(), head_bytes.begin(), head_bytes.end());
    packed.insert(packed.end(), bytes.begin(), bytes.end());
  }
  return packed;
}

std::optional<NodeShares> unpack(std::span<const std::byte> payload, NodeSet nodes) {
  NodeShares shares;
  for (unsigned node = 0; node < kMaxNodes; ++node) {
    if (!contains(nodes, static_cast<NodeId>(node))) continue;
    ShareHead head;
    if (payload.size() < sizeof head) return std::nullopt;
    std::memcpy(&head, payload.data(), sizeof head);
    payload = payload.subspan(sizeof head);
    if (head.node != node || head.bytes > kMaxExchangeBytes || head.bytes > payload.size()) return std::nullopt;
    shares.emplace_back(node, std::vector<std::byte>(payload.begin(), payload.begin() + head.bytes));
    payload = payload.subspan(head.bytes);
  }
  if (!payload.empty()) return std::nullopt;
  return shares;
}

Broken pack(const cluster::Breakage& breakage) {
  Broken broken{};
  broken.node = breakage.node;
  broken.pid = breakage.pid;
  broken.exit_code = breakage.exit_code;
  cluster::put_text(broken.how, breakage.how);
  cluster::put_text(broken.sentence, breakage.sentence);
  return broken;
}

std::optional<cluster::Breakage> unpack(const Broken* broken, NodeSet nodes) {
  if (broken == nullptr || broken->node >= kMaxNodes || !contains(nodes, static_cast<NodeId>(broken->node))) {
    return std::nullopt;
  }
  return cluster::Breakage{broken->node, broken->pid, broken->exit_code, cluster::get_text(broken->how),
                           cluster::get_text(broken->sentence)};
}

}  // namespace dsm::hosts
