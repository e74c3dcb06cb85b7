#include "mem/uffd_engine.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/check.h"
#include "mem/give_up.h"
#include "mem/private_chunk.h"
#include "mem/shared_view.h"

namespace dsm::mem {
namespace {

#ifndef MADV_DONTNEED_LOCKED  // Linux 5.18
constexpr int MADV_DONTNEED_LOCKED = 24;
#endif

void* pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

// Calls use(address, bytes) for the parts of a range that lie in one chunk each: one request must not cross from one
// memory area into another, and areas end at chunks.
template <typename Use>
void by_chunk(const Geometry& geometry, PageRange pages, Use use) {
  std::uintptr_t address = geometry.address_of(pages.first);
  const std::uintptr_t end = geometry.address_of(pages.end());
  while (address < end) {
    const std::uintptr_t next = std::min(end, (address | (kChunkBytes - 1)) + 1);
    use(address, next - address);
    address = next;
  }
}

// Returns for an error that a request gets over by trying again. It sleeps: what is waited for is another thread, and
// this one may be more urgent.
void try_again_sig(int error, const char* what, std::uintptr_t address) {
  if (error != EAGAIN && error != EINTR) give_up_sig(what, address, error);
  const timespec moment{0, 20'000};
  ::nanosleep(&moment, nullptr);
}

}  // namespace

Result<UffdParts> make_uffd_parts(const Geometry& geometry, std::byte* service, FaultRoute route) {
  auto userfault = Userfault::open(route);
  if (!userfault) return tl::unexpected(userfault.error());
  auto attached = ChunkSet::make(geometry);
  if (!attached) return tl::unexpected(attached.error());
  return UffdParts{geometry, service, std::move(*userfault), std::move(*attached)};
}

// A descriptor of this process if process_madvise takes advice of every kind for it (Linux 6.13), else -1.
int advisable_self() {
  const int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  void* page = mmap(nullptr, kPageBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return self;
  const iovec range{page, kPageBytes};
  const bool works = syscall(SYS_process_madvise, self, &range, 1, MADV_DONTNEED, 0) == kPageBytes;
  munmap(page, kPageBytes);
  if (works || self < 0) return self;
  close(self);
  return -1;
}

UffdEngine::~UffdEngine() {
  DSM_CHECK(!running_, "an engine was destroyed before it was stopped");
  if (self_ >= 0) close(self_);
}

Result<void> UffdEngine::start(FaultSink& sink) {
  DSM_CHECK(sink_ == nullptr, "start() a second time");
  sink_ = &sink;
  auto started = attendant_.start();
  if (started) {
    self_ = advisable_self();  // these two first: the threads that begin() starts look at them
    running_ = true;
    started = begin();
  }
  if (started) return started;
  running_ = false;
  attendant_.stop();
  return started;
}

void UffdEngine::stop() {
  if (!running_) return;
  running_ = false;
  end();
  attendant_.stop();
}

Result<void> UffdEngine::attach(std::uintptr_t address, std::size_t bytes) {
  // Registered while nobody may touch it, then opened: no access comes in between.
  if (const int error = userfault().register_shared(address, bytes); error != 0) {
    return fail(Errc::kSystem, "cannot register the application view with userfaultfd", error);
  }
  if (mprotect(pointer(address), bytes, PROT_READ | PROT_WRITE) != 0) {
    return fail(Errc::kNoMemory, "cannot open the application view", errno);
  }
  parts_.attached.add(address, bytes);
  return {};
}

void UffdEngine::map(PageRange pages, Access access) {
  DSM_CHECK(access != Access::kNone);
  by_chunk(geometry(), pages, [&](std::uintptr_t address, std::size_t bytes) { map_part(address, bytes, access); });
}

void UffdEngine::map_part(std::uintptr_t address, std::size_t bytes, Access access) {
  while (bytes > 0) {
    const auto [done, error] = userfault().resume(address, bytes, access);
    address += done;
    bytes -= done;
    if (error == 0 || bytes == 0) continue;
    if (error == EEXIST) {
      map_present(address, access);
      address += kPageBytes;
      bytes -= kPageBytes;
    } else if (error == EFAULT && bytes == kPageBytes) {
      if (bring_zeroes(address, access)) return;
    } else if (error == EFAULT) {
      fill_holes(address, bytes);
    } else if (error == ENOENT && bytes > kPageBytes) {  // the program split the memory area
      const std::size_t half = bytes / kPageBytes / 2 * kPageBytes;
      map_part(address, half, access);
      address += half;
      bytes -= half;
    } else {
      try_again_sig(error, "map a page", address);
    }
  }
}

void UffdEngine::bring(PageRange pages, const std::byte* bytes, Access access) {
  const std::uintptr_t begin = geometry().address_of(pages.first);
  by_chunk(geometry(), pages, [&](std::uintptr_t address, std::size_t size) {
    bring_part(address, size, bytes + (address - begin), access);
  });
}

void UffdEngine::bring_part(std::uintptr_t address, std::size_t bytes, const std::byte* from, Access access) {
  while (bytes > 0) {
    const auto [done, error] = userfault().copy(address, bytes, from, access);
    address += done;
    from += done;
    bytes -= done;
    if (error == 0 || bytes == 0) continue;
    if (error == EEXIST || error == ENOENT) {  // it has a page already, or the program split the memory area
      std::memcpy(parts_.service + (address - geometry().base), from, kPageBytes);
      map_part(address, kPageBytes, access);
      address += kPageBytes;
      from += kPageBytes;
      bytes -= kPageBytes;
    } else {
      try_again_sig(error, "bring a page", address);
    }
  }
}

void UffdEngine::map_present(std::uintptr_t page, Access access) {
  write_protect_part(page, kPageBytes, access == Access::kRead);
  release_waiters(page, kPageBytes);
}

// A page nobody wrote yet is not in the memory file; as fill_holes() and then map(), but in one step and without a
// mapping in the service view, which would have to go again if the page is put out. False: it is there by now.
bool UffdEngine::bring_zeroes(std::uintptr_t address, Access access) {
  alignas(kPageBytes) static const std::byte kZeroes[kPageBytes]{};
  const int error = userfault().copy(address, kPageBytes, kZeroes, access).error;
  if (error == 0) return true;
  if (error != EEXIST) fill_holes(address, kPageBytes);
  return false;
}

// Pages nobody wrote yet are not in the memory file. Touching them through the service view puts them there.
void UffdEngine::fill_holes(std::uintptr_t address, std::size_t bytes) {
  std::byte* const at = parts_.service + (address - geometry().base);
  while (madvise(at, bytes, MADV_POPULATE_WRITE) != 0) try_again_sig(errno, "allocate shared memory", address);
}

void UffdEngine::raise(PageRange pages) { write_protect(pages, false); }

void UffdEngine::lower(PageRange pages) { write_protect(pages, true); }

void UffdEngine::write_protect(PageRange pages, bool on) {
  by_chunk(geometry(), pages,
           [&](std::uintptr_t address, std::size_t bytes) { write_protect_part(address, bytes, on); });
}

void UffdEngine::write_protect_part(std::uintptr_t address, std::size_t bytes, bool on) {
  while (true) {
    const int error = userfault().write_protect(address, bytes, on);
    if (error == 0) return;
    if (error == ENOENT && bytes > kPageBytes) {
      const std::size_t half = bytes / kPageBytes / 2 * kPageBytes;
      write_protect_part(address, half, on);
      return write_protect_part(address + half, bytes - half, on);
    }
    try_again_sig(error, on ? "take write access from a page" : "give write access to a page", address);
  }
}

void UffdEngine::unmap(PageRange pages) {
  const std::uintptr_t address = geometry().address_of(pages.first);
  const std::size_t bytes = std::size_t{pages.count} * kPageBytes;
  while (madvise(pointer(address), bytes, MADV_DONTNEED) != 0) {
    if (errno == EINVAL && madvise(pointer(address), bytes, MADV_DONTNEED_LOCKED) == 0) return;  // after mlockall
    try_again_sig(errno, "take a page away from the program", address);
  }
}

void UffdEngine::unmap_all(std::span<const PageRange> ranges) {
  constexpr std::size_t kMost = 64;
  iovec vector[kMost];
  while (!ranges.empty()) {
    const auto some = ranges.first(std::min(ranges.size(), kMost));
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < some.size(); ++i) {
      vector[i] = {pointer(geometry().address_of(some[i].first)), std::size_t{some[i].count} * kPageBytes};
      bytes += vector[i].iov_len;
    }
    const bool done = self_ >= 0 && syscall(SYS_process_madvise, self_, vector, some.size(), MADV_DONTNEED, 0) ==
                                        static_cast<long>(bytes);
    if (!done) {
      for (const PageRange& range : some) unmap(range);
    }
    ranges = ranges.subspan(some.size());
  }
}

Result<void> UffdEngine::seal_private(std::uintptr_t chunk, std::byte* moved_to) {
  if (!running_) return fail(Errc::kNotStarted, "the fault engine is not running");
  const MoveAttendant::Move moving(attendant_);
  // First registered, so that the emptied range faults into the sink; then emptied.
  if (const int error = userfault().register_private(chunk, kChunkBytes); error != 0) {
    return fail(Errc::kSystem, "cannot register a private chunk with userfaultfd", error);
  }
  if (auto moved = move_pages(chunk, moved_to, kChunkBytes); !moved) return moved;
  // The registration moved along; here it is in the way.
  const int error = userfault().unregister(reinterpret_cast<std::uintptr_t>(moved_to), kChunkBytes);
  if (error != 0) return fail(Errc::kSystem, "cannot release the moved pages", error);
  if (mprotect(moved_to, kChunkBytes, PROT_READ) != 0) {
    return fail(Errc::kSystem, "cannot read the moved pages", errno);
  }
  return {};
}

Result<void> UffdEngine::replace_sealed(std::uintptr_t chunk, int memory_fd, std::uint64_t offset) {
  if (!running_) return fail(Errc::kNotStarted, "the fault engine is not running");
  // Registered elsewhere, then moved over the chunk: mremap replaces one registered mapping by another under one hold
  // of the kernel's mmap lock, so there is no moment without registration. (mmap over the chunk and then registering
  // would leave one, and PROT_NONE in that moment would be EFAULT to a system call.)
  auto view = map_shared_view(nullptr, kChunkBytes, memory_fd, offset, PROT_READ | PROT_WRITE);
  if (!view) return tl::unexpected(view.error());
  if (const int error = userfault().register_shared(reinterpret_cast<std::uintptr_t>(*view), kChunkBytes); error != 0) {
    munmap(*view, kChunkBytes);
    return fail(Errc::kSystem, "cannot register a shared chunk with userfaultfd", error);
  }
  const MoveAttendant::Move moving(attendant_);
  if (mremap(*view, kChunkBytes, kChunkBytes, MREMAP_MAYMOVE | MREMAP_FIXED, pointer(chunk)) == MAP_FAILED) {
    const int error = errno;
    munmap(*view, kChunkBytes);
    return fail(Errc::kNoMemory, "cannot put a shared chunk in the place of a private one", error);
  }
  parts_.attached.add(chunk, kChunkBytes);
  return {};
}

void UffdEngine::release_waiters(std::uintptr_t address, std::size_t bytes) {
  while (const int error = userfault().wake(address, bytes)) try_again_sig(error, "wake the threads waiting", address);
}

}  // namespace dsm::mem
