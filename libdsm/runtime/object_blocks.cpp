// The life of a block of the object arenas: its headers outlive it, so that no copy of what it was is taken for what it
// is.
#include <algorithm>
#include <mutex>

#include "base/meta_layout.h"
#include "runtime/node.h"
#include "runtime/objects.h"
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
  if (block != nullptr && node_.geometry.nodes > 1) begin_life(reinterpret_cast<std::uint64_t>(block), true);
  return block;
}

Header Objects::begin_life(std::uint64_t address, bool coloured) {
  const std::uint64_t offset = header_offset(node_.geometry, address);
  for (Header old = 0;;) {
    net::Op look = net::read_op(Region::kMeta, offset, &old, sizeof old);
    execute_ops(node_.self, {&look, 1});
    const Header next = proto::freed_word(old) | (coloured ? proto::kColoured : 0);
    net::Op swap = net::cas_op(Region::kMeta, offset, old, next);
    execute_ops(node_.self, {&swap, 1});
    if (swap.old == old) return next;
  }
}

// Pages that are not in object mode have no copies anywhere, and headers that were never changed need no change.
bool Objects::freed(void* block, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uint64_t>(block);
  const Geometry& geometry = node_.geometry;
  if (geometry.nodes == 1) return true;
  std::uint64_t standing = 0;
  for (std::uint64_t at = begin; at < begin + bytes;) {
    const PageId page = geometry.page_of(at);
    const std::uint64_t end = std::min(begin + bytes, geometry.address_of(page + 1));
    proto::Word latch = 0;
    if (node_.space->state(page) == mem::ChunkState::kShared) {
      net::Op look = net::read_op(Region::kMeta, latch_offset(page), &latch, sizeof latch);
      execute_ops(node_.self, {&look, 1});
    }
    if (proto::mode_of(latch) == proto::Mode::kObject) {
      for (std::uint64_t object = at & ~(kObjectGranule - 1); object < end; object += kObjectGranule) {
        if (object < begin || object + kObjectGranule > begin + bytes) {
          end_part(object);
        } else if (!end_life(object, begin)) {
          ++standing;
        }
      }
    }
    at = end;
  }
  return standing == 0;
}

// Other blocks have the rest of the granule, and somebody may be working with an object there: what the header says of
// that stays. A standing owner has to give the granule back before anybody writes into it, so nothing old is seen.
void Objects::end_part(std::uint64_t address) {
  const std::uint64_t offset = header_offset(node_.geometry, address);
  Header old = 0;
  net::Op look = net::read_op(Region::kMeta, offset, &old, sizeof old);
  execute_ops(node_.self, {&look, 1});
  while (old != 0 && proto::hold_of(old) != proto::Hold::kStanding) {
    net::Op swap = net::cas_op(Region::kMeta, offset, old, old + proto::kOneVersion);
    execute_ops(node_.self, {&swap, 1});
    if (swap.old == old) return;
    old = swap.old;
  }
}

// False: a standing owner has to forget it first.
bool Objects::end_life(std::uint64_t address, std::uint64_t block) {
  const std::uint64_t offset = header_offset(node_.geometry, address);
  for (Header old = 0;;) {
    net::Op look = net::read_op(Region::kMeta, offset, &old, sizeof old);
    execute_ops(node_.self, {&look, 1});
    if (old == 0) return true;
    net::Op swap = net::cas_op(Region::kMeta, offset, old, proto::freed_word(old));
    execute_ops(node_.self, {&swap, 1});
    if (swap.old != old) continue;
    if (proto::hold_of(old) != proto::Hold::kStanding) return true;
    {
      const std::lock_guard guard(waiting_frees_lock_);
      waiting_frees_.push_back({address, block});
    }
    send(proto::holder_of(old), ObjectMessageKind::kForget, address);
    return false;
  }
}

// The block may be used again when the last of its standing owners has answered.
void Objects::forgotten(std::uint64_t address) {
  std::uint64_t block = 0;
  bool last = true;
  {
    const std::lock_guard guard(waiting_frees_lock_);
    const auto found = std::find_if(waiting_frees_.begin(), waiting_frees_.end(),
                                    [&](const WaitingFree& one) { return one.object == address; });
    if (found == waiting_frees_.end()) return;
    block = found->block;
    waiting_frees_.erase(found);
    for (const WaitingFree& one : waiting_frees_) last &= one.block != block;
  }
  if (last) node_.heap->release(reinterpret_cast<void*>(block));
}

}  // namespace dsm::runtime
