// What each thread keeps of its own, so that most fetches and changes of small objects take no lock.
#include <sys/mman.h>

#include <mutex>
#include <new>

#include "base/no_memory.h"
#include "base/signals.h"
#include "hints/cache.h"
#include "runtime/node.h"

namespace dsm::hints {
namespace {

// Larger copies go into the table at once, so that what a thread keeps stays small beside the cache.
constexpr std::uint64_t kSmallBytes = 1024;

std::size_t class_of(std::uint64_t bytes) {
  return static_cast<std::size_t>(__builtin_ctzll(Slab::taken(bytes)) - __builtin_ctzll(Slab::kSmallest));
}

// Made at a thread's first copy; a later thread with the same record has it.
Recent& recent_of(runtime::ThreadPins& me) {
  void* made = me.upper.load(std::memory_order_relaxed);
  if (made == nullptr) {
    made = ::mmap(nullptr, sizeof(Recent), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) end_without_memory("a thread's copies");
    me.upper.store(::new (made) Recent);
  }
  return *static_cast<Recent*>(made);
}

}  // namespace

Copy& Cache::make(runtime::ThreadPins& me, std::uint64_t bytes) {
  if (bytes > kSmallBytes) {
    const SignalsBlocked blocked;
    const std::lock_guard guard(lock_);
    return make_locked(bytes);
  }
  Recent& recent = recent_of(me);
  const std::size_t size = class_of(bytes);
  std::size_t& count = recent.ready_count[size];
  if (count == 0) {
    const SignalsBlocked blocked;
    const std::lock_guard guard(lock_);
    while (count < Recent::kReady) {
      recent.ready[size][count] = &make_locked(Slab::kSmallest << size);
      ++count;
    }
  }
  Copy& copy = *recent.ready[size][--count];
  copy.bytes.store(bytes, std::memory_order_relaxed);
  return copy;
}

void Cache::insert(runtime::ThreadPins& me, Copy& copy, std::uint64_t address, proto::Header word, std::uint64_t seen) {
  Recent& recent = recent_of(me);
  copy.word.store(proto::at_rest(word), std::memory_order_relaxed);
  std::atomic<Copy*>& slot = recent.copies[hash(address) % Recent::kCopies];
  Copy* const there = slot.load(std::memory_order_relaxed);
  const bool same = there != nullptr && there->address.load() == address;
  const bool full = there != nullptr && (!same || recent.retired_count == Recent::kCopies);
  if (full || copy.bytes.load() > kSmallBytes || proto::hold_of(word) == proto::Hold::kStanding) {
    const SignalsBlocked blocked;
    const std::lock_guard guard(lock_);
    flush(recent);
    if (seen == forgotten_.load()) copy.address.store(address);
    return put_in_table(copy);
  }
  if (same) {
    there->address.store(0, std::memory_order_relaxed);
    recent.retired[recent.retired_count++] = there;
  }
  copy.address.store(address, std::memory_order_relaxed);
  slot.store(&copy, std::memory_order_release);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (seen != forgotten_.load()) copy.address.store(0, std::memory_order_relaxed);
}

void Cache::retire(runtime::ThreadPins& me, Copy& copy) {
  Recent& recent = recent_of(me);
  if (copy.bytes.load() <= kSmallBytes && recent.retired_count < Recent::kCopies) {
    recent.retired[recent.retired_count++] = &copy;
    return;
  }
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  flush(recent);
  doom(copy);
}

// Under the lock.
void Cache::flush(Recent& recent) {
  while (recent.retired_count != 0) doom(*recent.retired[--recent.retired_count]);
  for (std::atomic<Copy*>& slot : recent.copies) {
    if (Copy* copy = slot.load()) {
      slot.store(nullptr);
      put_in_table(*copy);
    }
  }
}

// Under the lock: what threads have of these bytes is worth nothing.
void Cache::drop_recent(std::uint64_t begin, std::uint64_t end) {
  runtime::for_each_thread([&](const runtime::ThreadPins& thread) {
    const auto* recent = static_cast<const Recent*>(thread.upper.load());
    if (recent == nullptr) return;
    for (const std::atomic<Copy*>& slot : recent->copies) {
      Copy* const copy = slot.load();
      if (copy == nullptr) continue;
      const std::uint64_t address = copy->address.load();
      if (address < end && begin < address + copy->bytes.load()) copy->address.store(0);
    }
  });
}

void Cache::end_thread(runtime::ThreadPins& me) {
  auto* const recent = static_cast<Recent*>(me.upper.load());
  if (recent == nullptr) return;
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  flush(*recent);
  for (std::size_t size = 0; size < Recent::kClasses; ++size) {
    while (recent->ready_count[size] != 0) doom(*recent->ready[size][--recent->ready_count[size]]);
  }
}

}  // namespace dsm::hints
