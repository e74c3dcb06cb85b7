#include "hints/cache.h"

#include <cstring>
#include <mutex>
#include <new>

#include "base/no_memory.h"
#include "base/signals.h"
#include "base/sparse.h"
#include "runtime/node.h"

namespace dsm::hints {
namespace {

// The share of the cache that the small queue may have.
constexpr std::uint64_t kSmallShare = 10;
// The share of its limit that may lie ready for new copies besides.
constexpr std::uint64_t kKeptShare = 4;

template <typename T>
T* map_table(std::size_t count) {
  T* const table = map_sparse<T>(count);
  if (table == nullptr) end_without_memory("the tables of the object cache");
  return table;
}

}  // namespace

Cache::Cache(runtime::Node& node, std::uint64_t limit)
    : node_(node),
      limit_(limit),
      buckets_(map_table<std::atomic<Copy*>>(kBuckets)),
      pages_(map_table<Copy*>(kPageLists)),
      holdings_(map_table<Holding*>(kHoldingBuckets)),
      ghosts_(map_table<std::uint16_t>(kGhosts)),
      slab_(node.transport.get(), limit / kKeptShare),
      least_changes_(node.transport->is_far() ? static_cast<std::uint32_t>(node.config.stand_after) : 0),
      changes_due_(least_changes_) {}

// --- the table ------------------------------------------------------------------------------------------------------

Copy& Cache::make_locked(std::uint64_t bytes) {
  used_ += Slab::taken(bytes) + Slab::taken(sizeof(Copy));
  if (used_ > limit_) make_room();
  Copy& copy = new_record();
  copy.bytes.store(bytes, std::memory_order_relaxed);
  copy.data = slab_.take(bytes);
  return copy;
}

// A record that was used before keeps its `next`: somebody may still be reading it.
Copy& Cache::new_record() {
  if (free_copies_ == nullptr) return *::new (slab_.take(sizeof(Copy))) Copy{};
  Copy& copy = *free_copies_;
  free_copies_ = copy.queue_next;
  copy.standing.store(false, std::memory_order_relaxed);
  copy.uses.store(0, std::memory_order_relaxed);
  copy.in_main = false;
  copy.changes = 0;
  return copy;
}

// Under the lock. Something newer may be there.
void Cache::put_in_table(Copy& copy) {
  const std::uint64_t address = copy.address.load();
  if (address == 0) return doom(copy);
  Copy* const there = find_locked(address);
  if (there != nullptr &&
      (there->standing || proto::version_of(there->word.load()) > proto::version_of(copy.word.load()))) {
    copy.address.store(0);
    return doom(copy);
  }
  if (there != nullptr) {
    copy.uses.store(there->uses.load(std::memory_order_relaxed), std::memory_order_relaxed);
    copy.in_main = there->in_main;
    unlink(*there);
    doom(*there);
  }
  link(copy, address);
}

Copy*& Cache::page_list(const Copy& copy) const {
  const std::uint64_t address = copy.address.load(), end = address + copy.bytes.load() - 1;
  const PageId page = node_.geometry.page_of(address);
  return page == node_.geometry.page_of(end) ? pages_[page % kPageLists] : const_cast<Copy*&>(spanning_);
}

void Cache::link(Copy& copy, std::uint64_t address) {
  const std::size_t ghost = hash(address);
  if (ghosts_[ghost % kGhosts] == static_cast<std::uint16_t>(ghost >> 8 | 1)) copy.in_main = true;
  copy.address.store(address, std::memory_order_relaxed);
  Copy*& list = page_list(copy);
  copy.page_previous = nullptr;
  copy.page_next = list;
  if (list != nullptr) list->page_previous = &copy;
  list = &copy;
  (copy.in_main ? main_ : small_).push(copy);
  std::atomic<Copy*>& head = bucket(address);
  copy.next.store(head.load(), std::memory_order_relaxed);
  head.store(&copy, std::memory_order_release);
}

// A reader in the bucket's chain that stands on the copy still finds its way on.
void Cache::unlink(Copy& copy) {
  const std::uint64_t address = copy.address.load();
  Copy*& list = page_list(copy);
  if (copy.page_next != nullptr) copy.page_next->page_previous = copy.page_previous;
  (copy.page_previous != nullptr ? copy.page_previous->page_next : list) = copy.page_next;
  (copy.in_main ? main_ : small_).remove(copy);
  std::atomic<Copy*>* at = &bucket(address);
  while (at->load() != &copy) at = &at->load()->next;
  at->store(copy.next.load());
  copy.address.store(0);
}

void Cache::doom(Copy& copy) {
  copy.queue_next = doomed_;
  doomed_ = &copy;
  if (++doomed_count_ >= kSweepEvery || copy.bytes.load() >= limit_ / kSweepEvery) sweep();
}

// Frees what is doomed and no pin names.
void Cache::sweep() {
  const std::uint32_t now = ++sweeps_;
  runtime::pins_barrier();
  runtime::for_each_pin([&](const runtime::Pin& pin) {
    if (const void* copy = pin.copy.load()) const_cast<Copy*>(static_cast<const Copy*>(copy))->seen_pinned = now;
  });
  Copy** at = &doomed_;
  while (Copy* copy = *at) {
    if (copy->seen_pinned == now) {
      at = &copy->queue_next;
      continue;
    }
    *at = copy->queue_next;
    --doomed_count_;
    const std::uint64_t bytes = copy->bytes.load();
    used_ -= Slab::taken(bytes) + Slab::taken(sizeof(Copy));
    slab_.give(copy->data, bytes);
    copy->queue_next = free_copies_;
    free_copies_ = copy;
  }
}

// --- room -----------------------------------------------------------------------------------------------------------

void Cache::Fifo::push(Copy& copy) {
  copy.queue_previous = newest;
  copy.queue_next = nullptr;
  (newest != nullptr ? newest->queue_next : oldest) = &copy;
  newest = &copy;
  bytes += copy.bytes.load();
}

void Cache::Fifo::remove(Copy& copy) {
  (copy.queue_previous != nullptr ? copy.queue_previous->queue_next : oldest) = copy.queue_next;
  (copy.queue_next != nullptr ? copy.queue_next->queue_previous : newest) = copy.queue_previous;
  bytes -= copy.bytes.load();
}

// A little more than is needed now, so that the next sweep is some copies away.
void Cache::make_room() {
  sweep();
  std::uint64_t to_go = used_ > limit_ ? used_ - limit_ + limit_ / 32 : 0;
  while (to_go > 0) {
    const std::uint64_t before = small_.bytes + main_.bytes;
    if (!evict_one()) break;
    const std::uint64_t went = before - small_.bytes - main_.bytes + sizeof(Copy);
    to_go = to_go > went ? to_go - went : 0;
  }
  sweep();
}

// False if nothing can go.
bool Cache::evict_one() {
  for (std::uint64_t tries = 0; small_.oldest != nullptr || main_.oldest != nullptr; ++tries) {
    if (tries > 1'000'000) return false;  // nothing but standing copies
    const bool from_small =
        small_.oldest != nullptr && (small_.bytes * kSmallShare > limit_ || main_.oldest == nullptr);
    Fifo& queue = from_small ? small_ : main_;
    Copy& copy = *queue.oldest;
    const std::uint8_t uses = copy.uses.load(std::memory_order_relaxed);
    if (uses == 0 && copy.standing.load()) give_back_idle(copy.address.load());
    if (queue.oldest != &copy) continue;  // it has left the table
    if (uses != 0 || copy.standing.load()) {
      queue.remove(copy);
      copy.in_main = true;
      copy.uses.store(from_small || uses == 0 ? 0 : static_cast<std::uint8_t>(uses - 1), std::memory_order_relaxed);
      main_.push(copy);
      continue;
    }
    const std::size_t ghost = hash(copy.address.load());
    if (from_small) ghosts_[ghost % kGhosts] = static_cast<std::uint16_t>(ghost >> 8 | 1);
    unlink(copy);
    copy.queue_next = doomed_;
    doomed_ = &copy;
    ++doomed_count_;
    count(node_.stats->object_evict);
    return true;
  }
  return false;
}

// --- object mode ----------------------------------------------------------------------------------------------------

void Cache::left(PageId page) {
  const std::lock_guard guard(lock_);
  const Geometry& geometry = node_.geometry;
  const std::uint64_t begin = geometry.address_of(page), end = begin + kPageBytes;
  drop_recent(begin, end);
  for (Copy* list : {pages_[page % kPageLists], spanning_}) {
    while (list != nullptr) {
      Copy& copy = *list;
      list = copy.page_next;
      const std::uint64_t address = copy.address.load();
      if (address >= end || address + copy.bytes.load() <= begin) continue;
      unlink(copy);
      doom(copy);
    }
  }
}

void Cache::forget(std::uint64_t address, bool freed) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  forgotten_.fetch_add(1);
  runtime::pins_barrier();  // who has put a copy into its Recent meanwhile sees the count
  drop_recent(address, address + 1);
  Copy* copy = find_locked(address);
  if (Holding** at = find_holding(address); *at != nullptr) {
    Holding& holding = **at;
    if (holding.standing && !freed) return;
    if (holding.standing) copy = holding.copy;
    holding.standing = holding.dirty = holding.recalled = false;
    holding.copy = nullptr;
    if (holding.holder == nullptr && holding.waiting == 0) forget_holding(at);
  }
  if (copy == nullptr) return;
  unlink(*copy);
  doom(*copy);
}

}  // namespace dsm::hints
