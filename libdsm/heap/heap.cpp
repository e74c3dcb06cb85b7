// Threads, arenas and thread caches of the heap.
//
// 1. A thread gets a slot at its first allocation, the one with the fewest living threads (the first of these: short
//    threads reuse what others left), and keeps it. A slot is a raw and an object arena, made when first needed.
// 2. Raw blocks go through jemalloc's own thread cache: the thread is bound to its raw arena (thread.arena). That cache
//    holds raw blocks of this heap only: this jemalloc serves nothing else, release() keeps object blocks out, and
//    jemalloc's own memory (arena 0) bypasses caches. A flush gives each block to the arena of its extent.
//    Object blocks name their arena and a cache of the thread (measured: twice the price at least).
// 3. Once jemalloc has torn its data of a thread down, it gives that thread arena 0's memory whatever is asked for. So
//    a thread allocates directly (base/allocation_gate.h) from its binding to the end of its thread-specific data, and
//    ours ends before jemalloc's: thread_end says why. Before and after, every block is checked to lie in the slice;
//    allocate_late() has a way for threads that jemalloc has torn down.
// 4. A block that is apart is a raw block of whole pages, from an arena of its own with a bound, past all caches. One
//    that is freed by dsm_je_free (the preload library) may lie in a thread's cache and serve as a raw block of that
//    size; it stays what its chunk says.
#include "heap/heap.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <deque>
#include <thread>

#include "base/allocation_gate.h"
#include "base/check.h"
#include "heap/arena_births.h"
#include "heap/bounded_chunks.h"
#include "heap/chunk_arena.h"
#include "heap/chunk_kinds.h"
#include "heap/jemalloc.h"

namespace dsm::heap {
namespace {

constexpr std::size_t kQuantum = 16;  // any size class from here on is a multiple of it, so aligned to it by nature
constexpr unsigned kNoSlot = ~0U;

constexpr std::size_t kMostLentAhead = 8 * kChunkBytes;  // lent memory is the other nodes' too

// Where chunks may come from: the own slice, or the lent memory if there is any.
struct AddressRange {
  std::uint64_t begin;
  std::uint64_t bytes;
};
AddressRange range_of(const Geometry& geometry, NodeId self) {
  if (geometry.memory_nodes == 0) return {geometry.address_of(geometry.slice_first(self)), geometry.slice_bytes};
  return {geometry.address_of(geometry.lent_first()), geometry.memory_nodes * geometry.slice_bytes};
}

struct ThreadState {
  bool ready = false;    // it has a slot and is bound to its raw arena
  bool counted = false;  // the slot counts it among its threads
  bool ended = false;    // its caches have been given back for good: it takes no new ones
  unsigned slot = kNoSlot;
  int object_cache = MALLOCX_TCACHE_NONE;  // the flag of its explicit cache for objects, if it has one
  unsigned object_cache_number = 0;
};

// initial-exec: reached without __tls_get_addr, which may allocate.
[[gnu::tls_model("initial-exec")]] constinit thread_local ThreadState this_thread;

std::atomic<bool> heap_exists{false};

// The thread-specific key by which we hear of a thread's end. glibc destroys in the order in which keys were made, so
// ours is made before jemalloc's constructor makes its own; a test (HeapThreads) sees it if that order is another.
struct ThreadEnd {
  pthread_key_t key;
  int error;
};
constinit ThreadEnd thread_end{};

void on_thread_end(void* heap);

[[gnu::constructor(101)]] void make_thread_end_key() {
  thread_end.error = pthread_key_create(&thread_end.key, on_thread_end);
}

// Empties jemalloc's own cache of this thread. An error: the thread has none any more, jemalloc has torn it down.
void flush_cache() { static_cast<void>(dsm_je_mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0)); }

int alignment_flag(std::size_t alignment) { return alignment > 1 ? std::countr_zero(alignment) : 0; }

class ArenaHeap final : public Heap {
 public:
  ArenaHeap(const Geometry& geometry, NodeId self, ChunkSource& source, unsigned slots, std::uint64_t apart_bytes);
  ~ArenaHeap() override;
  Result<void> start();

  void* allocate(std::size_t bytes, std::size_t alignment, Kind kind, bool zero) override;
  void release(void* block) override;
  std::size_t usable_size(const void* block) const override;
  void* resize(void* block, std::size_t bytes) override;
  void forget_thread() override;
  void thread_ends();

 private:
  struct Slot {
    Slot(ChunkSource& source, ChunkKinds& kinds, std::size_t grow_limit)
        : raw(Kind::kRaw, source, kinds, grow_limit), object(Kind::kObject, source, kinds, grow_limit) {}
    ChunkArena& arena(Kind kind) { return kind == Kind::kRaw ? raw : object; }
    ChunkArena raw;
    ChunkArena object;
    std::atomic<unsigned> threads{0};
  };

  bool enter_thread();
  unsigned emptiest_slot() const;
  ChunkArena& arena_of_thread(Kind kind);
  int cache_flag(Kind kind);

  void* allocate_slow(std::size_t bytes, std::size_t alignment, Kind kind, bool zero);
  void* allocate_named(std::size_t bytes, int flags, Kind kind);
  void* allocate_apart(std::size_t bytes, std::size_t alignment, bool zero);
  void* resize_apart(void* block, std::size_t bytes);
  static void* allocate_bound(std::size_t bytes, std::size_t alignment, bool zero);
  void* allocate_late(std::size_t bytes, int flags, const ChunkArena& arena);
  void* allocate_from(const ChunkArena& arena, std::size_t bytes, int flags);
  void* allocate_anywhere(std::size_t bytes, int flags, Kind kind);

  const std::uint64_t slice_bytes_;
  ChunkKinds kinds_;
  BoundedChunks apart_chunks_;
  ChunkArena apart_;
  std::deque<Slot> slots_;
};

void on_thread_end(void* heap) { static_cast<ArenaHeap*>(heap)->thread_ends(); }

ArenaHeap::ArenaHeap(const Geometry& geometry, NodeId self, ChunkSource& source, unsigned slots,
                     std::uint64_t apart_bytes)
    : slice_bytes_(range_of(geometry, self).bytes),
      kinds_(range_of(geometry, self).begin, slice_bytes_),
      apart_chunks_(source, apart_bytes),
      apart_(Kind::kApart, apart_chunks_, kinds_, kChunkBytes) {
  DSM_CHECK(!heap_exists.exchange(true), "a process has one heap at a time");
  // An arena takes address space ahead of need in growing steps; at the most this much of it.
  const std::size_t most = geometry.memory_nodes == 0 ? geometry.slice_bytes / 64 : kMostLentAhead;
  const std::size_t grow_limit = std::max<std::size_t>(kChunkBytes, most);
  for (unsigned i = 0; i < slots; ++i) slots_.emplace_back(source, kinds_, grow_limit);
}

Result<void> ArenaHeap::start() {
  if (thread_end.error != 0) {
    return fail(Errc::kSystem, "cannot get a thread-specific key for the heap: too many are in use", thread_end.error);
  }
  keep_births_from_forks();
  if (!slots_.front().raw.open()) return fail(Errc::kNoMemory, "cannot create the heap's first arena");
  return {};
}

ArenaHeap::~ArenaHeap() {
  forget_thread();
  flush_cache();  // a thread that has only released blocks has a cache too
  pthread_setspecific(thread_end.key, nullptr);
  if (this_thread.slot != kNoSlot) {
    unsigned none = 0;
    const int failed = dsm_je_mallctl("thread.arena", nullptr, nullptr, &none, sizeof none);
    DSM_CHECK(failed == 0, "jemalloc cannot bind a thread to arena 0: error {}", failed);
    this_thread = ThreadState{};
  }
  for (Slot& slot : slots_) {
    for (ChunkArena* arena : {&slot.raw, &slot.object}) {
      if (arena->is_open()) arena->destroy();
    }
  }
  if (apart_.is_open()) apart_.destroy();
  heap_exists.store(false);
}

// --- blocks ---------------------------------------------------------------------------------------------------------

void* ArenaHeap::allocate(std::size_t bytes, std::size_t alignment, Kind kind, bool zero) {
  if (kind == Kind::kRaw && alignment <= kQuantum && !zero && is_bound(allocations)) [[likely]] {
    void* block = dsm_je_malloc(std::max(bytes, alignment));  // aligned by nature then
    if (block != nullptr) [[likely]]
      return block;
  }
  return allocate_slow(bytes, alignment, kind, zero);
}

void ArenaHeap::release(void* block) {
  const Kind kind = kinds_.of(block);
  if (kind == Kind::kRaw) [[likely]]
    return dsm_je_free(block);
  dsm_je_dallocx(block, kind == Kind::kApart ? MALLOCX_TCACHE_NONE : this_thread.object_cache);
}

std::size_t ArenaHeap::usable_size(const void* block) const { return dsm_je_sallocx(block, 0); }

void* ArenaHeap::resize(void* block, std::size_t bytes) {
  DSM_CHECK(bytes > 0, "a block cannot shrink to nothing: release it");
  if (bytes > slice_bytes_ || !enter_thread()) return nullptr;
  const Kind kind = kinds_.of(block);
  if (kind == Kind::kApart) return resize_apart(block, bytes);
  ChunkArena& arena = arena_of_thread(kind);
  if (!arena.open()) return nullptr;
  // With the arena named, a block that has to move stays in the slice even in a thread that jemalloc has torn down.
  if (void* moved = dsm_je_rallocx(block, bytes, arena.flag() | cache_flag(kind))) return moved;
  void* copy = allocate_anywhere(bytes, 0, kind);
  if (copy == nullptr) return nullptr;
  std::memcpy(copy, block, std::min(bytes, usable_size(block)));
  release(block);
  return copy;
}

void* ArenaHeap::allocate_slow(std::size_t bytes, std::size_t alignment, Kind kind, bool zero) {
  DSM_CHECK((alignment & (alignment - 1)) == 0, "alignment {} is no power of two", alignment);
  if (bytes > slice_bytes_ || alignment > slice_bytes_ || !enter_thread()) return nullptr;
  bytes = std::max<std::size_t>(bytes, 1);
  if (kind == Kind::kApart) return allocate_apart(bytes, alignment, zero);
  if (kind == Kind::kRaw) {
    void* block = allocate_bound(bytes, alignment, zero);
    if (kinds_.holds(block)) [[likely]]
      return block;
    if (block != nullptr) dsm_je_dallocx(block, MALLOCX_TCACHE_NONE);  // invariant 3
  }
  return allocate_named(bytes, alignment_flag(alignment) | (zero ? MALLOCX_ZERO : 0), kind);
}

void* ArenaHeap::allocate_apart(std::size_t bytes, std::size_t alignment, bool zero) {
  if (!apart_.open()) return nullptr;
  const int flags = alignment_flag(std::max<std::size_t>(alignment, kPageBytes)) | (zero ? MALLOCX_ZERO : 0);
  return allocate_from(apart_, up_to_page(bytes), flags);
}

// Stays apart as long as there is room for that. jemalloc would not know that it has to.
void* ArenaHeap::resize_apart(void* block, std::size_t bytes) {
  const std::size_t usable = usable_size(block);
  const std::size_t whole = up_to_page(bytes);
  if (whole <= usable && whole > usable / 2) return block;
  void* moved = allocate_apart(bytes, 0, false);
  if (moved == nullptr && whole <= usable) return block;
  if (moved == nullptr) moved = allocate_slow(bytes, 0, Kind::kRaw, false);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, std::min(bytes, usable));
  release(block);
  return moved;
}

// An object block, or a raw one that could not be had as the thread is bound.
void* ArenaHeap::allocate_named(std::size_t bytes, int flags, Kind kind) {
  ChunkArena& arena = arena_of_thread(kind);
  if (!arena.open()) return nullptr;
  void* block = kind == Kind::kRaw ? allocate_from(arena, bytes, flags)
                                   : dsm_je_mallocx(bytes, flags | arena.flag() | cache_flag(kind));
  if (kinds_.holds(block)) [[likely]]
    return block;
  if (block != nullptr) {
    dsm_je_dallocx(block, MALLOCX_TCACHE_NONE);
    block = allocate_late(bytes, flags, arena);
  }
  return block != nullptr ? block : allocate_anywhere(bytes, flags, kind);
}

// A raw block as the thread is bound. jemalloc's special cases are half as dear as mallocx, which knows them all.
void* ArenaHeap::allocate_bound(std::size_t bytes, std::size_t alignment, bool zero) {
  if (alignment <= kQuantum) {
    bytes = std::max(bytes, alignment);  // aligned by nature then
    return zero ? dsm_je_calloc(1, bytes) : dsm_je_malloc(bytes);
  }
  if (!zero) return dsm_je_aligned_alloc(alignment, bytes);
  return dsm_je_mallocx(bytes, alignment_flag(alignment) | MALLOCX_ZERO);
}

// For a thread that jemalloc has torn down (other thread-specific data may be destroyed after jemalloc's): mallocx
// gives it arena 0's memory whatever is asked for, but rallocx heeds the arena when it has to move the block.
void* ArenaHeap::allocate_late(std::size_t bytes, int flags, const ChunkArena& arena) {
  const std::size_t seed_bytes = bytes > 8 ? 8 : 16;  // of another size class than `bytes`, so that it has to move
  void* seed = dsm_je_mallocx(seed_bytes, MALLOCX_TCACHE_NONE);
  if (seed == nullptr) return nullptr;
  std::memset(seed, 0, seed_bytes);  // MALLOCX_ZERO is about the bytes beyond it
  void* block = dsm_je_rallocx(seed, bytes, flags | arena.flag() | MALLOCX_TCACHE_NONE);
  if (block == nullptr) {
    dsm_je_dallocx(seed, MALLOCX_TCACHE_NONE);
    return nullptr;
  }
  DSM_CHECK(kinds_.holds(block), "jemalloc gave {} bytes outside of the arena that was named", bytes);
  return block;
}

void* ArenaHeap::allocate_from(const ChunkArena& arena, std::size_t bytes, int flags) {
  void* block = dsm_je_mallocx(bytes, flags | arena.flag() | MALLOCX_TCACHE_NONE);
  if (block == nullptr || kinds_.holds(block)) return block;
  dsm_je_dallocx(block, MALLOCX_TCACHE_NONE);
  return allocate_late(bytes, flags, arena);
}

// The slice is used up and the thread's own arena has nothing that fits: looks into all arenas, first as they are, then
// with their free pages joined.
void* ArenaHeap::allocate_anywhere(std::size_t bytes, int flags, Kind kind) {
  for (const bool joined : {false, true}) {
    for (Slot& slot : slots_) {
      ChunkArena& arena = slot.arena(kind);
      if (!arena.is_open()) continue;
      if (joined) arena.purge();
      if (void* block = allocate_from(arena, bytes, flags)) return block;
    }
  }
  return nullptr;
}

// --- threads --------------------------------------------------------------------------------------------------------

// False if there is no memory for the thread's arena.
bool ArenaHeap::enter_thread() {
  if (this_thread.ready) [[likely]]
    return true;
  if (this_thread.slot == kNoSlot) {
    const unsigned slot = emptiest_slot();
    ChunkArena& arena = slots_[slot].raw;
    if (!arena.open() || !arena.bind_this_thread()) return false;
    this_thread.slot = slot;
  }
  this_thread.ready = true;  // first: pthread_setspecific may allocate
  if (!this_thread.ended && pthread_setspecific(thread_end.key, this) == 0) {
    slots_[this_thread.slot].threads.fetch_add(1, std::memory_order_relaxed);
    this_thread.counted = true;
    if (allocations == Allocations::kUnbound) allocations = bound_allocations;
  }
  return true;
}

void ArenaHeap::forget_thread() {
  if (!this_thread.ready) return;
  if (is_bound(allocations)) allocations = Allocations::kUnbound;
  if (this_thread.object_cache != MALLOCX_TCACHE_NONE) {
    unsigned cache = this_thread.object_cache_number;
    this_thread.object_cache = MALLOCX_TCACHE_NONE;
    const int failed = dsm_je_mallctl("tcache.destroy", nullptr, nullptr, &cache, sizeof cache);
    DSM_CHECK(failed == 0, "jemalloc does not know the thread cache {}: error {}", cache, failed);
  }
  flush_cache();
  if (this_thread.counted) slots_[this_thread.slot].threads.fetch_sub(1, std::memory_order_relaxed);
  this_thread.counted = false;
  this_thread.ready = false;
}

void ArenaHeap::thread_ends() {
  this_thread.ended = true;
  forget_thread();
}

unsigned ArenaHeap::emptiest_slot() const {
  const auto threads = [](const Slot& slot) { return slot.threads.load(std::memory_order_relaxed); };
  return static_cast<unsigned>(std::ranges::min_element(slots_, {}, threads) - slots_.begin());
}

// REQUIRES: the thread has entered.
ChunkArena& ArenaHeap::arena_of_thread(Kind kind) { return slots_[this_thread.slot].arena(kind); }

// How blocks of this kind are cached: 0 is jemalloc's own cache of the thread.
int ArenaHeap::cache_flag(Kind kind) {
  if (kind == Kind::kRaw) return 0;
  if (this_thread.object_cache == MALLOCX_TCACHE_NONE && this_thread.counted) {
    unsigned cache = 0;
    std::size_t bytes = sizeof cache;
    // jemalloc has some 4000 of them. A thread that gets none does without.
    if (dsm_je_mallctl("tcache.create", &cache, &bytes, nullptr, 0) == 0) {
      this_thread.object_cache_number = cache;
      this_thread.object_cache = static_cast<int>(MALLOCX_TCACHE(cache));
    }
  }
  return this_thread.object_cache;
}

}  // namespace

Result<std::unique_ptr<Heap>> make_heap(const Geometry& geometry, NodeId self, ChunkSource& source, unsigned arenas,
                                        std::uint64_t apart_bytes) {
  DSM_CHECK(self < geometry.nodes && geometry.slice_bytes > 0 && geometry.slice_bytes % kChunkBytes == 0,
            "node {} of {} with a slice of {} bytes", self, geometry.nodes, geometry.slice_bytes);
  if (arenas > kMaxArenas) return fail(Errc::kBadOption, "too many heap arenas: 1024 at the most, 0 for one per CPU");
  if (arenas == 0) arenas = std::clamp(std::thread::hardware_concurrency(), 1U, kMaxArenas);
  auto heap = std::make_unique<ArenaHeap>(geometry, self, source, arenas, apart_bytes);
  if (auto started = heap->start(); !started) return tl::unexpected(started.error());
  return heap;
}

}  // namespace dsm::heap
