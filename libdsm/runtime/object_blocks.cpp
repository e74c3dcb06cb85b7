// The life of a block of the object arenas: its headers outlive it, so that no copy of what it was is taken for what it
// is.
#include <algorithm>
#include <array>
#include <bit>
#include <mutex>

#include "base/meta_layout.h"
#include "base/signals.h"
#include "proto/life.h"
#include "runtime/batch.h"
#include "runtime/blocks.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/pages.h"
#include "runtime/wire.h"

namespace dsm::runtime {

using net::Region;
using proto::Header;

namespace {

// Objects of this many bytes begin on a page, so that they have as few pages as can be: jemalloc puts what is larger
// than its slabs at a random cache line of its first page, and the rest on one page more.
constexpr std::size_t kBeginsOnPage = 4 * kPageBytes;

}  // namespace

void* Objects::new_block(std::size_t bytes) {
  if (bytes > node_.geometry.memory_bytes()) return nullptr;
  const std::size_t whole = (std::max<std::size_t>(bytes, 1) + kObjectGranule - 1) & ~(kObjectGranule - 1);
  const std::size_t alignment = whole < kBeginsOnPage ? kObjectGranule : kPageBytes;
  void* block = node_.heap->allocate(whole, alignment, heap::Kind::kObject, false);
  if (block != nullptr && node_.geometry.program_nodes() > 1) begin_life(reinterpret_cast<std::uint64_t>(block));
  return block;
}

// Swaps the header of a granule for what `change` makes of it; returns what it was.
template <typename Change>
Header Objects::change_header(std::uint64_t granule, Change change) {
  const NodeId home = home_of(granule);
  const std::uint64_t offset = header_offset(node_.geometry, granule);
  for (Header old = 0;;) {
    net::Op look = net::read_op(Region::kMeta, offset, &old, sizeof old);
    execute_ops(home, {&look, 1});
    const Header next = change(old);
    if (next == old) return old;
    net::Op swap = net::cas_op(Region::kMeta, offset, old, next);
    execute_ops(home, {&swap, 1});
    if (swap.old == old) return old;
  }
}

void Objects::begin_life(std::uint64_t address) {
  change_header(address, [](Header old) { return proto::begin_of_life(old); });
}

// Of whose pages any node may have something of their objects, a bit each. They are of one home and one chunk.
std::uint32_t Objects::pages_with_copies(PageRange pages) {
  const Geometry& geometry = node_.geometry;
  if (node_.space->state(pages.first) != mem::ChunkState::kShared) return 0;
  std::uint32_t asked = 0;
  for (std::uint32_t i = 0; i < pages.count; ++i) {
    if (!alone_with(pages.first + i)) asked |= 1U << i;
  }
  if (asked == 0) return 0;
  std::array<proto::Latch, kGranulePages> latches{};
  const auto bytes = static_cast<std::uint32_t>(pages.count * kLatchBytes);
  net::Op look = net::read_op(Region::kMeta, latch_offset(pages.first), latches.data(), bytes);
  execute_ops(geometry.home(pages.first), {&look, 1});
  std::uint32_t found = 0;
  for (std::uint32_t i = 0; i < pages.count; ++i) {
    if (proto::may_have_copies(latches[i].word ^ stored_zero(geometry, pages.first + i))) found |= 1U << i;
  }
  return found & asked;
}

// A page of lent memory that this node has for itself: its latch is elsewhere, but the page is mostly here.
bool Objects::alone_with(PageId page) {
  if (!node_.geometry.lent(page)) return false;
  const SignalsBlocked blocked;
  Entry& entry = node_.pages->entry(page);
  const std::lock_guard guard(entry.lock);
  return entry.page.access == Access::kWrite;
}

bool Objects::freed(void* block, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uint64_t>(block), end = begin + bytes;
  const Geometry& geometry = node_.geometry;
  if (geometry.program_nodes() == 1) return true;
  std::vector<WaitingFree> waiting;
  const PageRange pages = geometry.pages_of(begin, bytes);
  for (PageId first = pages.first; first < pages.end();) {
    const PageId last = std::min(pages.end(), (first / kGranulePages + 1) * kGranulePages);
    std::uint32_t found = pages_with_copies({first, static_cast<std::uint32_t>(last - first)});
    for (; found != 0; found &= found - 1) {
      const PageId page = first + static_cast<unsigned>(std::countr_zero(found));
      const std::uint64_t from = std::max(begin, geometry.address_of(page));
      end_lives(begin, end, from, std::min(end, geometry.address_of(page + 1)), waiting);
    }
    first = last;
  }
  if (waiting.empty()) return true;
  {
    const SignalsBlocked blocked;  // the service thread takes the lock, too
    const std::lock_guard guard(waiting_frees_lock_);
    waiting_frees_.insert(waiting_frees_.end(), waiting.begin(), waiting.end());
  }
  for (const WaitingFree& one : waiting) {
    for (NodeSet left = one.nodes; left != 0; left &= left - 1) {
      send(static_cast<NodeId>(std::countr_zero(left)), ObjectMessageKind::kForget, one.object);
    }
  }
  return false;
}

// Of a block's granules in one page; `waiting` gets those which nodes have to forget before it may be used again.
void Objects::end_lives(std::uint64_t begin, std::uint64_t end, std::uint64_t from, std::uint64_t to,
                        std::vector<WaitingFree>& waiting) {
  for (std::uint64_t granule = granule_of(from); granule < to; granule += kObjectGranule) {
    const bool alone = granule >= begin && end - granule >= kObjectGranule;
    const NodeSet nodes = end_life(granule, alone);
    if (nodes != 0) waiting.push_back({granule, begin, nodes});
  }
}

// The nodes that have to forget it before the block may be used again.
NodeSet Objects::end_life(std::uint64_t granule, bool alone) {
  const Header old = change_header(granule, [alone](Header word) { return proto::end_of_life(word, alone).word; });
  const proto::LifeEnd end = proto::end_of_life(old, alone);
  const NodeSet all = node_bit(static_cast<NodeId>(node_.geometry.program_nodes())) - 1;
  return (end.all_forget ? all & ~node_bit(node_.self) : 0) | (end.forgets != kNoNode ? node_bit(end.forgets) : 0);
}

// The block may be used again when the last has answered.
void Objects::forgotten(NodeId from, std::uint64_t address) {
  std::uint64_t block = 0;
  {
    const std::lock_guard guard(waiting_frees_lock_);
    const auto found = std::find_if(waiting_frees_.begin(), waiting_frees_.end(), [&](const WaitingFree& one) {
      return one.object == address && contains(one.nodes, from);
    });
    if (found == waiting_frees_.end()) return;
    found->nodes &= ~node_bit(from);
    if (found->nodes != 0) return;
    block = found->block;
    waiting_frees_.erase(found);
    for (const WaitingFree& one : waiting_frees_) {
      if (one.block == block) return;
    }
  }
  node_.blocks->give_back(reinterpret_cast<void*>(block));
}

}  // namespace dsm::runtime
