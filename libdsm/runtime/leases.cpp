#include "runtime/leases.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/meta_layout.h"
#include "runtime/lost.h"
#include "runtime/node.h"

namespace dsm::runtime {
namespace {

using net::Region;

std::uint64_t chunks_of(const Geometry& geometry) {
  return geometry.memory_nodes * geometry.slice_pages() / kPagesPerChunk;
}

std::uint64_t chunks_to_lend(const Node& node) {
  if (node.config.memory_per_node == 0) return chunks_of(node.geometry);
  return node.geometry.memory_nodes * static_cast<std::uint64_t>(node.config.memory_per_node) / kChunkBytes;
}

}  // namespace

Leases::Leases(Node& node)
    : node_(node),
      keeper_(static_cast<NodeId>(node.geometry.program_nodes())),
      chunks_(chunks_to_lend(node)),
      child_end_(chunks_of(node.geometry)),
      known_(new std::atomic<std::uint8_t>[chunks_of(node.geometry)]()) {}

std::uint64_t Leases::execute(net::Op operation) {
  execute_or_end(node_, keeper_, {&operation, 1});
  return operation.old;
}

// Where the chunks begin that were not lent yet and are now.
std::optional<std::uint64_t> Leases::take(std::uint64_t chunks, std::uint64_t alignment) {
  const std::uint64_t offset = lent_chunks_offset(node_.geometry);
  std::uint64_t lent = 0;
  execute(net::read_op(Region::kMeta, offset, &lent, sizeof lent));
  const std::uint64_t unaligned = node_.geometry.lent_first() / kPagesPerChunk;
  for (;;) {
    const std::uint64_t first = ((unaligned + lent + alignment - 1) & ~(alignment - 1)) - unaligned;
    if (first > chunks_ || chunks > chunks_ - first) return std::nullopt;
    const std::uint64_t old = execute(net::cas_op(Region::kMeta, offset, lent, first + chunks));
    if (old == lent) return first;
    lent = old;
  }
}

std::optional<PageId> Leases::lease(std::uint64_t chunks, std::uint64_t alignment) {
  const auto first = take(chunks, alignment);
  if (!first) return std::nullopt;
  const auto mine = static_cast<std::uint8_t>(node_.self + 1);
  std::array<std::uint8_t, 256> names;
  names.fill(mine);
  for (std::uint64_t done = 0; done < chunks; done += names.size()) {
    const auto bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(chunks - done, names.size()));
    execute(net::write_op(Region::kMeta, lessee_offset(node_.geometry, *first + done), names.data(), bytes));
  }
  for (std::uint64_t i = 0; i < chunks; ++i) known_[*first + i].store(mine, std::memory_order_release);
  count(node_.stats->chunk_leased, chunks);
  return node_.geometry.lent_first() + *first * kPagesPerChunk;
}

std::uint64_t Leases::lent() {
  std::uint64_t lent = 0;
  execute(net::read_op(Region::kMeta, lent_chunks_offset(node_.geometry), &lent, sizeof lent));
  return lent;
}

bool Leases::is_own(std::uint64_t chunk) const {
  return known_[chunk].load(std::memory_order_acquire) == static_cast<std::uint8_t>(node_.self + 1);
}

std::optional<PageId> Leases::take_for_child(std::uint64_t chunks, std::uint64_t alignment) {
  const std::uint64_t unaligned = node_.geometry.lent_first() / kPagesPerChunk;
  if (chunks > child_end_) return std::nullopt;
  const std::uint64_t aligned = (unaligned + child_end_ - chunks) & ~(alignment - 1);
  if (aligned < unaligned) return std::nullopt;
  const std::uint64_t first = aligned - unaligned;
  for (std::uint64_t i = 0; i < chunks; ++i) {
    if (is_own(first + i)) return std::nullopt;
    known_[first + i].store(static_cast<std::uint8_t>(node_.self + 1), std::memory_order_release);
  }
  child_end_ = first;
  return node_.geometry.lent_first() + first * kPagesPerChunk;
}

bool Leases::charge(std::uint64_t chunks) { return take(chunks, 1).has_value(); }

NodeId Leases::lessee(PageId page) {
  const std::uint64_t chunk = (page - node_.geometry.lent_first()) / kPagesPerChunk;
  std::uint8_t known = known_[chunk].load(std::memory_order_acquire);
  if (known == 0) {
    execute(net::read_op(Region::kMeta, lessee_offset(node_.geometry, chunk), &known, 1));
    known_[chunk].store(known, std::memory_order_release);
  }
  return known == 0 ? kNoNode : static_cast<NodeId>(known - 1);
}

}  // namespace dsm::runtime
