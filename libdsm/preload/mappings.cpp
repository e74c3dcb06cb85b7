#include "preload/mappings.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "base/futex.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/types.h"
#include "heap/heap.h"
#include "preload/front.h"
#include "runtime/forks.h"
#include "runtime/node.h"

// What the runtime's own code means by these names (--wrap in CMakeLists.txt), and what others' calls come to.
extern "C" {
void* __wrap_mmap(void* at, std::size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  return reinterpret_cast<void*>(::syscall(SYS_mmap, at, bytes, protection, flags, fd, offset));
}
int __wrap_munmap(void* at, std::size_t bytes) noexcept { return static_cast<int>(::syscall(SYS_munmap, at, bytes)); }
int __wrap_madvise(void* at, std::size_t bytes, int advice) noexcept {
  return static_cast<int>(::syscall(SYS_madvise, at, bytes, advice));
}
void* __wrap_mremap(void* old, std::size_t old_bytes, std::size_t bytes, int flags, ...) noexcept {
  void* to = nullptr;
  if ((flags & MREMAP_FIXED) != 0) {
    va_list more;
    va_start(more, flags);
    to = va_arg(more, void*);  // NOLINT(clang-analyzer-valist.Uninitialized): begun above
    va_end(more);
  }
  return reinterpret_cast<void*>(::syscall(SYS_mremap, old, old_bytes, bytes, flags, to));
}
int __wrap_mprotect(void* at, std::size_t bytes, int protection) noexcept {
  return static_cast<int>(::syscall(SYS_mprotect, at, bytes, protection));
}
}

namespace dsm::preload {
namespace {

struct Extent {
  std::uintptr_t begin, end;
  std::size_t bytes() const { return end - begin; }
  void* data() const { return reinterpret_cast<void*>(begin); }
};

struct Mapping {
  std::uintptr_t end;
  std::size_t left;        // pages
  std::vector<bool> gone;  // by page
};

constinit FutexLock table_lock;

// By begin. Made at the first use, for as long as the process.
std::map<std::uintptr_t, Mapping>& table() {
  static auto& made = *new std::map<std::uintptr_t, Mapping>;
  return made;
}

// The table is changed with the program's signals blocked, and its nodes come from libc.
class TableLocked {
 public:
  TableLocked() : guard_(table_lock) {}

 private:
  const SignalsBlocked blocked_;
  const OwnAllocations own_;
  const std::lock_guard<FutexLock> guard_;
};

int fail(int error) {
  errno = error;
  return -1;
}

bool is_global(const void* address) {
  const runtime::Node* const node = front_node();
  return node != nullptr && node->geometry.holds(reinterpret_cast<std::uintptr_t>(address));
}

bool to_be_global(const void* at, std::size_t bytes, int protection, int flags) {
  constexpr int kOrdinary = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_NONBLOCK;
  const runtime::Node* const node = front_node();
  if (node == nullptr || allocations == Allocations::kOwn || runtime::in_forked_child()) return false;
  const auto least = static_cast<std::size_t>(node->config.mmap_kib) * 1024;
  return least != 0 && bytes >= least && at == nullptr && protection == (PROT_READ | PROT_WRITE) &&
         (flags & ~kOrdinary) == 0 && (flags & MAP_PRIVATE) != 0 && (flags & MAP_ANONYMOUS) != 0;
}

void* map_global(std::size_t bytes) {
  const std::size_t whole = up_to_page(bytes);
  void* const block = whole < bytes ? nullptr : allocate_slow(whole, kPageBytes, true, nullptr);
  if (block == nullptr) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(block);
  const TableLocked locked;
  table()[begin] = {begin + whole, whole / kPageBytes, std::vector<bool>(whole / kPageBytes)};
  return block;
}

// Drops what the pages hold. Memory that nodes share, or that is lent and not here alone, is left as it is: false.
bool drop(const Extent& pages) { return front_node()->chunks->purge(pages.data(), pages.bytes()); }

// Calls see(mapping's begin, mapping, extent) for each mapping that has part of the extent. Under the lock.
template <typename See>
void for_each_mapping(const Extent& extent, See see) {
  auto at = table().upper_bound(extent.begin);
  if (at != table().begin()) --at;
  while (at != table().end() && at->first < extent.end) {
    const auto here = at++;
    const Extent part{std::max(here->first, extent.begin), std::min(here->second.end, extent.end)};
    if (part.begin < part.end) see(here, part);
  }
}

int unmap_global(const Extent& extent) {
  std::vector<Extent> dropped;
  std::vector<void*> freed;
  {
    const TableLocked locked;
    for_each_mapping(extent, [&](auto here, const Extent& part) {
      Mapping& mapping = here->second;
      for (std::uintptr_t page = part.begin; page < part.end; page += kPageBytes) {
        auto gone = mapping.gone[(page - here->first) / kPageBytes];
        if (!gone) --mapping.left;
        gone = true;
      }
      if (mapping.left != 0) return dropped.push_back(part);
      freed.push_back(reinterpret_cast<void*>(here->first));
      table().erase(here);
    });
  }
  if (!runtime::in_forked_child()) {
    for (const Extent& part : dropped) drop(part);
  }
  for (void* const block : freed) release(block);
  return 0;
}

std::size_t bytes_mapped(const Extent& extent) {
  const TableLocked locked;
  std::size_t found = 0;
  for_each_mapping(extent, [&](auto here, const Extent& part) {
    for (std::uintptr_t page = part.begin; page < part.end; page += kPageBytes) {
      found += here->second.gone[(page - here->first) / kPageBytes] ? 0 : kPageBytes;
    }
  });
  return found;
}

void* remap_global(const Extent& old, std::size_t bytes, int flags) {
  errno = EFAULT;
  if (bytes_mapped(old) != old.bytes()) return MAP_FAILED;
  errno = EINVAL;
  if ((flags & ~MREMAP_MAYMOVE) != 0 || bytes == 0) return MAP_FAILED;
  const std::uintptr_t end = up_to_page(old.begin + bytes);
  if (end <= old.end) {
    if (end < old.end) unmap_global({end, old.end});
    return old.data();
  }
  errno = ENOMEM;
  if ((flags & MREMAP_MAYMOVE) == 0) return MAP_FAILED;
  void* const grown = map_global(bytes);
  if (grown == MAP_FAILED) return MAP_FAILED;
  std::memcpy(grown, old.data(), old.bytes());
  unmap_global(old);
  return grown;
}

// What the program reads there afterwards is zero; other advice changes nothing that it can see.
int advise_global(const Extent& extent, int advice) {
  if (advice == MADV_DONTNEED) {
    if (runtime::in_forked_child() || !drop(extent)) std::memset(extent.data(), 0, extent.bytes());
    return 0;
  }
  constexpr int kHarmless[] = {MADV_NORMAL,   MADV_RANDOM,      MADV_SEQUENTIAL, MADV_WILLNEED,
                               MADV_HUGEPAGE, MADV_NOHUGEPAGE,  MADV_FREE,       MADV_COLD,
                               MADV_PAGEOUT,  MADV_UNMERGEABLE, MADV_DONTDUMP,   MADV_DODUMP};
  const bool known = std::find(std::begin(kHarmless), std::end(kHarmless), advice) != std::end(kHarmless);
  return known ? 0 : fail(EINVAL);
}

// The block of a mapping is used again when the program has unmapped it, protected or not. What comes from malloc the
// program unprotects before it frees it, as without this library.
int protect_global(const Extent& extent, int protection) {
  if (protection == (PROT_READ | PROT_WRITE) || bytes_mapped(extent) == 0) {
    return __wrap_mprotect(extent.data(), extent.bytes(), protection);
  }
  static std::atomic<bool> told{false};
  if (!told.exchange(true)) {
    log(LogLevel::kWarn, "preload",
        "mprotect of a mapping that is global memory is refused (EACCES): it stays readable and writable; "
        "without --mmap-kib, or with a larger one, the program's own mappings stay outside");
  }
  return fail(EACCES);
}

Extent extent_of(void* at, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  return {begin, up_to_page(begin + bytes)};
}
bool sane(const Extent& extent) { return extent.begin % kPageBytes == 0 && extent.begin <= extent.end; }

}  // namespace

void lock_mappings() { table_lock.lock(); }
void unlock_mappings() { table_lock.unlock(); }

DSM_INTERPOSED void* mmap(void* at, std::size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  if (to_be_global(at, bytes, protection, flags)) return map_global(bytes);
  return __wrap_mmap(at, bytes, protection, flags, fd, offset);
}
DSM_INTERPOSED void* mmap64(void* at, std::size_t bytes, int protection, int flags, int fd, off64_t offset) noexcept {
  return mmap(at, bytes, protection, flags, fd, offset);
}

DSM_INTERPOSED int munmap(void* at, std::size_t bytes) noexcept {
  if (!is_global(at)) return __wrap_munmap(at, bytes);
  const Extent extent = extent_of(at, bytes);
  return sane(extent) && bytes != 0 ? unmap_global(extent) : fail(EINVAL);
}

DSM_INTERPOSED void* mremap(void* old, std::size_t old_bytes, std::size_t bytes, int flags, ...) noexcept {
  if (!is_global(old)) {
    va_list more;
    va_start(more, flags);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): begun above
    void* const to = (flags & MREMAP_FIXED) != 0 ? va_arg(more, void*) : nullptr;
    va_end(more);
    return __wrap_mremap(old, old_bytes, bytes, flags, to);
  }
  const Extent extent = extent_of(old, old_bytes);
  if (sane(extent) && old_bytes != 0) return remap_global(extent, bytes, flags);
  errno = EINVAL;
  return MAP_FAILED;
}

DSM_INTERPOSED int madvise(void* at, std::size_t bytes, int advice) noexcept {
  if (!is_global(at)) return __wrap_madvise(at, bytes, advice);
  const Extent extent = extent_of(at, bytes);
  return sane(extent) ? advise_global(extent, advice) : fail(EINVAL);
}

DSM_INTERPOSED int mprotect(void* at, std::size_t bytes, int protection) noexcept {
  if (!is_global(at)) return __wrap_mprotect(at, bytes, protection);
  const Extent extent = extent_of(at, bytes);
  return sane(extent) ? protect_global(extent, protection) : fail(EINVAL);
}

}  // namespace dsm::preload
