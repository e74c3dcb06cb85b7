// The life of a block of the object arenas: its headers outlive it, so that no copy of what it was is taken for what it
// is.
#include <algorithm>
#include <bit>
#include <mutex>

#include "base/meta_layout.h"
#include "base/signals.h"
#include "proto/life.h"
#include "runtime/batch.h"
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

// Swaps the header for what `change` makes of it; returns what it was.
template <typename Change>
Header Objects::change_header(std::uint64_t offset, Change change) {
  for (Header old = 0;;) {
    net::Op look = net::read_op(Region::kMeta, offset, &old, sizeof old);
    execute_ops(node_.self, {&look, 1});
    const Header next = change(old);
    if (next == old) return old;
    net::Op swap = net::cas_op(Region::kMeta, offset, old, next);
    execute_ops(node_.self, {&swap, 1});
    if (swap.old == old) return old;
  }
}

void Objects::begin_life(std::uint64_t address) {
  const std::uint64_t offset = header_offset(node_.geometry, address);
  change_header(offset, [](Header old) { return proto::begin_of_life(old); });
}

// Whether any node may have something of the page's objects.
bool Objects::may_have_copies(PageId page) {
  const Geometry& geometry = node_.geometry;
  if (node_.space->state(page) != mem::ChunkState::kShared) return false;
  if (geometry.lent(page)) {  // its latch is elsewhere, but the page is mostly here
    const SignalsBlocked blocked;
    Entry& entry = node_.pages->entry(page);
    const std::lock_guard guard(entry.lock);
    if (entry.page.access == Access::kWrite) return false;
  }
  proto::Word latch = 0;
  net::Op look = net::read_op(Region::kMeta, latch_offset(page), &latch, sizeof latch);
  execute_ops(geometry.home(page), {&look, 1});
  return proto::may_have_copies(latch ^ stored_zero(geometry, page));
}

bool Objects::freed(void* block, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uint64_t>(block), end = begin + bytes;
  const Geometry& geometry = node_.geometry;
  if (geometry.program_nodes() == 1) return true;
  std::vector<WaitingFree> waiting;
  for (std::uint64_t at = begin; at < end;) {
    const PageId page = geometry.page_of(at);
    const std::uint64_t page_end = std::min(end, geometry.address_of(page + 1));
    if (may_have_copies(page)) {
      for (std::uint64_t granule = granule_of(at); granule < page_end; granule += kObjectGranule) {
        const bool alone = granule >= begin && end - granule >= kObjectGranule;
        const NodeSet nodes = end_life(granule, alone);
        if (nodes != 0) waiting.push_back({granule, begin, nodes});
      }
    }
    at = page_end;
  }
  if (waiting.empty()) return true;
  {
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

// The nodes that have to forget it before the block may be used again.
NodeSet Objects::end_life(std::uint64_t granule, bool alone) {
  const Header old = change_header(header_offset(node_.geometry, granule),
                                   [alone](Header word) { return proto::end_of_life(word, alone).word; });
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
  node_.heap->release(reinterpret_cast<void*>(block));
}

}  // namespace dsm::runtime
