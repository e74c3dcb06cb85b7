#include "runtime/blocks.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "base/signals.h"
#include "runtime/block_checks.h"
#include "runtime/forks.h"
#include "runtime/leases.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/wire.h"

namespace dsm::runtime {
namespace {

constexpr std::uint64_t kGranuleBytes = kGranulePages * kPageBytes;

std::uint64_t value_of(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }
void* pointer_of(std::uint64_t value) { return reinterpret_cast<void*>(value); }

}  // namespace

std::uint64_t Granules::take(std::uint64_t count, bool fresh) {
  if (!fresh) {
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      const auto [first, size] = *it;
      if (size < count) continue;
      free_.erase(it);
      if (size > count) free_.emplace(first + count, size - count);
      used_.emplace(first, count);
      return first;
    }
  }
  if (count > granules_ - next_) return kNone;
  const std::uint64_t first = next_;
  next_ += count;
  used_.emplace(first, count);
  return first;
}

bool Granules::give(std::uint64_t first) {
  const auto found = used_.find(first);
  if (found == used_.end()) return false;
  std::uint64_t count = found->second;
  used_.erase(found);
  auto after = free_.lower_bound(first);
  if (after != free_.end() && after->first == first + count) {
    count += after->second;
    after = free_.erase(after);
  }
  if (after != free_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == first) {
      before->second += count;
      return true;
    }
  }
  free_.emplace(first, count);
  return true;
}

void Granules::take_back(std::uint64_t first, std::uint64_t ever_used) {
  used_.erase(first);
  next_ = ever_used;
}

std::uint64_t Granules::size(std::uint64_t first) const {
  const auto found = used_.find(first);
  return found == used_.end() ? 0 : found->second;
}

Blocks::Blocks(Node& node) : node_(node), granules_(node.geometry.interleaved_bytes / kGranuleBytes) { serve(); }

void* Blocks::allocate(std::size_t bytes, std::size_t alignment, Place place, bool fresh) {
  if (alignment != 0 && (alignment & (alignment - 1)) != 0) return nullptr;
  count(node_.stats->alloc);
  if (place.kind == Place::Kind::kInterleaved) {
    if (alignment > kGranuleBytes) return nullptr;
    Call call(node_, 0, Operation::kInterleaved, {bytes, fresh ? 1U : 0U, 0});
    return pointer_of(call.wait());
  }
  if (place.node >= node_.geometry.program_nodes()) return nullptr;
  void* const block = allocate_at(bytes, alignment, place);
  if (place.blocks != heap::Kind::kApart) return block;
  if (block != nullptr) {
    count(node_.stats->alloc_apart);
    return block;
  }
  tell_apart_is_full();
  return allocate_at(bytes, alignment, {place.kind, place.node});
}

void* Blocks::allocate_at(std::size_t bytes, std::size_t alignment, Place place) {
  if (place.node == node_.self) return node_.heap->allocate(bytes, alignment, place.blocks, false);
  Call call(node_, place.node, Operation::kAllocate, {bytes, alignment, static_cast<std::uint64_t>(place.blocks)});
  return pointer_of(call.wait());
}

void Blocks::tell_apart_is_full() {
  if (told_full_.exchange(true, std::memory_order_relaxed)) return;
  log(LogLevel::kWarn, "heap",
      "the memory for blocks on pages of their own is used up (DSM_APART_MEMORY, {} MiB): further ones share pages "
      "again",
      node_.config.apart_memory >> 20);
}

Blocks::Owner Blocks::owner(const void* block, const char* what) const {
  const std::uint64_t address = value_of(block);
  if (node_.geometry.holds(address)) {
    if (node_.geometry.interleaved(node_.geometry.page_of(address))) return Owner::kInterleaved;
    const NodeId keeper = keeper_of(address);
    if (keeper != kNoNode) return keeper == node_.self ? Owner::kHere : Owner::kElsewhere;
  }
  log(LogLevel::kError, "heap", "{}({}): this is no block of the global heap; the program ends", what, block);
  std::abort();
}

// The node whose heap has the chunk of an address that is in no interleaved memory; kNoNode: none, as far as known.
NodeId Blocks::keeper_of(std::uint64_t address) const {
  const PageId page = node_.geometry.page_of(address);
  if (node_.geometry.lent(page)) return node_.leases->lessee(page);
  const NodeId home = node_.geometry.home(page);
  return home != node_.self || node_.space->state(page) != mem::ChunkState::kUnused ? home : kNoNode;
}

bool Blocks::kept_here(std::uint64_t address) const {
  return node_.geometry.holds(address) && !node_.geometry.interleaved(node_.geometry.page_of(address)) &&
         keeper_of(address) == node_.self;
}

void Blocks::release(void* block) {
  if (block == nullptr) return;
  const std::uint64_t address = value_of(block);
  const Owner whose = owner(block, "free");
  if (node_.checks != nullptr) [[unlikely]]
    node_.checks->check_free(block, server_of(address, whose));
  if (whose == Owner::kHere) {
    count(node_.stats->free_local);
    return release_here(block);
  }
  if (in_forked_child() || node_finished()) return;
  count(node_.stats->free_remote);
  if (whose == Owner::kInterleaved) return release_interleaved(block);
  const SignalsBlocked blocked;
  const NodeId keeper = keeper_of(address);
  if (const auto full = frees_.add(keeper, block)) send_frees(keeper, full->used());
}

// Its objects' lives end first, as those of a heap's block do at its home (release_here).
void Blocks::release_interleaved(void* block) {
  const std::size_t bytes = size_of(block, Owner::kInterleaved);
  if (bytes == 0) {
    log(LogLevel::kError, "heap", "free({}): no interleaved block begins here; the program ends", block);
    std::abort();
  }
  if (node_.objects->freed(block, bytes)) give_back(block);
}

void Blocks::give_back(void* block) {
  if (kept_here(value_of(block))) return node_.heap->release(block);
  const SignalsBlocked blocked;
  const std::uint64_t address = value_of(block);
  send_frees(0, {&address, 1});
}

void Blocks::release_here(void* block) {
  if (node_.geometry.program_nodes() == 1 ||
      node_.space->state(node_.geometry.page_of(value_of(block))) == mem::ChunkState::kPrivate ||
      node_.objects->freed(block, node_.heap->usable_size(block))) {
    node_.heap->release(block);
  }
}

void Blocks::flush() {
  const SignalsBlocked blocked;
  for (NodeSet left = frees_.waiting(); left != 0; left &= left - 1) {
    const auto home = static_cast<NodeId>(std::countr_zero(left));
    if (const auto rest = frees_.take(home); rest.count != 0) send_frees(home, rest.used());
  }
}

void Blocks::send_frees(NodeId home, std::span<const std::uint64_t> blocks) {
  FreesMessage frees{blocks.size(), {}};
  std::copy(blocks.begin(), blocks.end(), frees.blocks);
  send_message(node_, home, pack(MessageType::kFrees, frees).bytes());
}

void Blocks::on_frees(NodeId from, std::span<const std::uint64_t> blocks) {
  for (const std::uint64_t address : blocks) {
    if (kept_here(address)) {
      release_here(pointer_of(address));
    } else if (!gives_granules(address)) {
      log(LogLevel::kError, "heap", "node {} has freed {:#x}, which is no block of this node's heap: ignored", from,
          address);
    }
  }
}

std::size_t Blocks::usable_size(const void* block) {
  if (block == nullptr) return 0;
  const Owner whose = owner(block, "usable_size");
  if (node_.checks != nullptr) node_.checks->check_use(block, server_of(value_of(block), whose), "usable_size");
  return size_of(block, whose);
}

std::size_t Blocks::size_of(const void* block, Owner whose) {
  if (whose == Owner::kHere) return node_.heap->usable_size(block);
  const std::uint64_t address = value_of(block);
  return Call(node_, server_of(address, whose), Operation::kUsableSize, {address, 0, 0}).wait();
}

// The bytes of a block that moves are copied by the calling thread, through the application view like the program's
// own.
void* Blocks::resize(void* block, std::size_t bytes) {
  const Place here{Place::Kind::kNode, node_.self};
  if (block == nullptr) return allocate(bytes, 0, here);
  const std::uint64_t address = value_of(block);
  const Owner whose = owner(block, "realloc");
  if (node_.checks != nullptr) node_.checks->check_use(block, server_of(address, whose), "realloc");
  if (whose == Owner::kHere) return node_.heap->resize(block, bytes == 0 ? 1 : bytes);
  const std::size_t old_bytes = size_of(block, whose);
  if (bytes <= old_bytes && bytes > old_bytes / 2) return block;
  const auto kind = whose == Owner::kInterleaved ? Place::Kind::kInterleaved : Place::Kind::kNode;
  void* moved = allocate(bytes, 0, {kind, server_of(address, whose)});
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, std::min(old_bytes, bytes));
  release(block);
  return moved;
}

// The interleaved region counts as lent as far as it was ever used.
std::uint64_t Blocks::take_granules(std::uint64_t count, bool fresh) {
  const std::uint64_t before = granules_.ever_used();
  const std::uint64_t first = granules_.take(count, fresh);
  if (first == Granules::kNone || node_.leases == nullptr) return first;
  constexpr std::uint64_t kPerChunk = kPagesPerChunk / kGranulePages;
  const std::uint64_t more = (granules_.ever_used() + kPerChunk - 1) / kPerChunk - (before + kPerChunk - 1) / kPerChunk;
  if (more == 0 || node_.leases->charge(more)) return first;
  granules_.take_back(first, before);
  return Granules::kNone;
}

// Node 0: an interleaved block whose objects' lives have ended.
bool Blocks::gives_granules(std::uint64_t address) {
  const std::uint64_t offset = address - node_.geometry.address_of(node_.geometry.interleaved_first());
  return node_.self == 0 && offset % kGranuleBytes == 0 && granules_.give(offset / kGranuleBytes);
}

// What this node does for the others, on its service thread. None of it touches the blocks' bytes.
void Blocks::serve() {
  Calls& calls = *node_.calls;
  calls.handle(Operation::kAllocate, [&](Caller caller, const Request& request) {
    const auto [bytes, alignment, number] = request.args;
    const auto kind = static_cast<heap::Kind>(number);
    const bool sane = (alignment & (alignment - 1)) == 0 && number <= static_cast<std::uint64_t>(heap::Kind::kApart);
    calls.reply(caller, sane ? value_of(node_.heap->allocate(bytes, alignment, kind, false)) : 0);
  });
  calls.handle(Operation::kUsableSize, [&](Caller caller, const Request& request) {
    const std::uint64_t address = request.args[0];
    const std::uint64_t region = node_.geometry.address_of(node_.geometry.interleaved_first());
    if (kept_here(address)) return calls.reply(caller, node_.heap->usable_size(pointer_of(address)));
    calls.reply(caller, address < region ? 0 : granules_.size((address - region) / kGranuleBytes) * kGranuleBytes);
  });
  calls.handle(Operation::kInterleaved, [&](Caller caller, const Request& request) {
    const std::uint64_t count = (std::max<std::uint64_t>(request.args[0], 1) + kGranuleBytes - 1) / kGranuleBytes;
    const bool sane = request.args[0] <= node_.geometry.interleaved_bytes;
    const std::uint64_t first = sane ? take_granules(count, request.args[1] != 0) : Granules::kNone;
    if (first == Granules::kNone) return calls.reply(caller, 0);
    const std::uint64_t block = node_.geometry.address_of(node_.geometry.interleaved_first()) + first * kGranuleBytes;
    if (node_.checks != nullptr) node_.checks->enter(block, count * kGranuleBytes);
    calls.reply(caller, block);
  });
  calls.handle(Operation::kBlockState, [&](Caller caller, const Request& request) {
    const auto [address, frees, none] = request.args;
    constexpr BlockFinding kUnchecked{BlockState::kLive, kNoNode, 0};
    const bool checked = node_.checks != nullptr;
    const BlockFinding found = checked ? node_.checks->look(address, frees != 0, caller.node) : kUnchecked;
    calls.reply(caller, found.packed());
  });
}

}  // namespace dsm::runtime
