#include "heap/chunk_arena.h"

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "heap/arena_births.h"

// narenas: threads are bound to ChunkArenas, so jemalloc's automatic ones would lie idle; number 0 has to exist and
// serves jemalloc's own needs (the stacks of thread caches), outside the slice. retain: invariant 3.
// All else, the decay above all, is as in a plain jemalloc. realloc(p, 0) never gets here, so zero_realloc is moot.
const char* dsm_je_malloc_conf = "narenas:1,percpu_arena:disabled,background_thread:false,retain:true";

namespace dsm::heap {
namespace {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) & ~(unit - 1); }

std::uint64_t number_of(const void* address) { return reinterpret_cast<std::uint64_t>(address); }

// The bytes of the rest that begins there.
constexpr std::uint64_t rest_bytes(std::uint64_t begin) { return round_up(begin, kChunkBytes) - begin; }

// mallctl on "arena.<index>.<name>"; `name` is spelled "arena.0.<name>".
int control(const char* name, unsigned index, void* old_value, std::size_t* old_bytes, void* value, std::size_t bytes) {
  std::size_t mib[3];
  std::size_t depth = 3;
  const int failed = dsm_je_mallctlnametomib(name, mib, &depth);
  DSM_CHECK(failed == 0, "jemalloc has no {}", name);
  mib[1] = index;
  return dsm_je_mallctlbymib(mib, depth, old_value, old_bytes, value, bytes);
}

}  // namespace

bool ChunkArena::open() {
  if (is_open()) return true;
  const ArenaBirth birth;
  if (is_open()) return true;  // by a thread that was quicker
  unsigned index = 0;
  std::size_t bytes = sizeof index;
  if (dsm_je_mallctl("arenas.create", &index, &bytes, nullptr, 0) != 0) return false;
  extent_hooks_t* hooks = &hooks_;
  int failed = control("arena.0.extent_hooks", index, nullptr, nullptr, &hooks, sizeof hooks);
  DSM_CHECK(failed == 0, "jemalloc refuses extent hooks: error {}", failed);
  failed = control("arena.0.retain_grow_limit", index, nullptr, nullptr, &grow_limit_, sizeof grow_limit_);
  DSM_CHECK(failed == 0, "jemalloc refuses a limit of {} bytes: error {}", grow_limit_, failed);

  index_.store(index, std::memory_order_release);
  return true;
}

bool ChunkArena::bind_this_thread() {
  unsigned index = index_.load(std::memory_order_acquire);
  return dsm_je_mallctl("thread.arena", nullptr, nullptr, &index, sizeof index) == 0;
}

void ChunkArena::purge() {
  const int failed = control("arena.0.purge", index_.load(std::memory_order_acquire), nullptr, nullptr, nullptr, 0);
  DSM_CHECK(failed == 0, "jemalloc refuses to purge: error {}", failed);
}

void ChunkArena::destroy() {
  const int failed = control("arena.0.destroy", index_.load(std::memory_order_acquire), nullptr, nullptr, nullptr, 0);
  DSM_CHECK(failed == 0, "a heap was destroyed while other threads still use it");
  index_.store(kNotOpen, std::memory_order_release);
}

void* ChunkArena::on_alloc(extent_hooks_t* hooks, void* wanted, std::size_t bytes, std::size_t alignment, bool* zero,
                           bool* commit, unsigned /*arena*/) {
  if (wanted != nullptr) return nullptr;  // takes come where they come
  void* address = owner(hooks).take(bytes, alignment);
  if (address == nullptr) return nullptr;
  *zero = true;
  *commit = true;
  return address;
}

bool ChunkArena::on_dalloc(extent_hooks_t* /*hooks*/, void* /*address*/, std::size_t /*bytes*/, bool /*committed*/,
                           unsigned /*arena*/) {
  return true;
}

bool ChunkArena::on_purge(extent_hooks_t* hooks, void* address, std::size_t /*bytes*/, std::size_t offset,
                          std::size_t length, unsigned /*arena*/) {
  const int saved_errno = errno;  // free() leaves it as it is, and a purge may come with one
  const std::uint64_t begin = number_of(address) + offset;
  const bool dropped = owner(hooks).purge_range(begin, begin + length);
  errno = saved_errno;
  return !dropped;
}

bool ChunkArena::on_split(extent_hooks_t* /*hooks*/, void* /*address*/, std::size_t /*bytes*/, std::size_t /*a*/,
                          std::size_t /*b*/, bool /*committed*/, unsigned /*arena*/) {
  return false;
}

bool ChunkArena::on_merge(extent_hooks_t* /*hooks*/, void* /*a*/, std::size_t /*a_bytes*/, void* /*b*/,
                          std::size_t /*b_bytes*/, bool /*committed*/, unsigned /*arena*/) {
  return false;
}

void* ChunkArena::take(std::size_t bytes, std::size_t alignment) {
  if (void* address = take_rest(bytes, alignment)) return address;
  const std::uint64_t chunks = round_up(bytes, kChunkBytes) >> kChunkShift;
  void* address = source_.take(chunks, std::max(alignment, kChunkBytes));
  if (address == nullptr) return nullptr;
  DSM_CHECK(number_of(address) % std::max(alignment, kChunkBytes) == 0 && kinds_.holds(address),
            "chunks at {:#x} are not what was asked for", number_of(address));
  if (kind_ != Kind::kRaw) kinds_.mark(address, chunks, kind_);
  keep_rest(number_of(address) + bytes);
  return address;
}

// jemalloc grows in steps of its size classes (2, 2.5, 3 MiB ...), and when the slice cannot give a step it asks for
// the few pages it needs at the moment: both leave a rest of the last chunk, which serves later requests.
void* ChunkArena::take_rest(std::size_t bytes, std::size_t alignment) {
  std::uint64_t begin = rest_.load(std::memory_order_acquire);
  for (;;) {
    const std::uint64_t end = round_up(begin, kChunkBytes);
    const std::uint64_t address = round_up(begin, alignment);
    if (begin == end || address >= end || bytes > end - address) return nullptr;
    if (rest_.compare_exchange_weak(begin, address + bytes, std::memory_order_acq_rel)) {
      return reinterpret_cast<void*>(address);
    }
  }
}

// The larger rest stays; the other one's addresses are lost (its memory has never been touched).
void ChunkArena::keep_rest(std::uint64_t begin) {
  std::uint64_t kept = rest_.load(std::memory_order_acquire);
  while (rest_bytes(begin) > rest_bytes(kept)) {
    if (rest_.compare_exchange_weak(kept, begin, std::memory_order_acq_rel)) return;
  }
}

// False if not all of it was dropped: then jemalloc takes none of it for zero, which is right for what was dropped too.
bool ChunkArena::purge_range(std::uint64_t begin, std::uint64_t end) {
  if (source_.purge(reinterpret_cast<void*>(begin), end - begin)) return true;
  // Some chunk is shared. Where there are several, the private ones need not keep their memory for that.
  const bool several = begin / kChunkBytes != (end - 1) / kChunkBytes;
  while (several && begin < end) {
    const std::uint64_t chunk_end = std::min(round_up(begin + 1, kChunkBytes), end);
    source_.purge(reinterpret_cast<void*>(begin), chunk_end - begin);
    begin = chunk_end;
  }
  return false;
}

}  // namespace dsm::heap
