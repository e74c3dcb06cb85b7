#include "runtime/chunks.h"

#include <sys/mman.h>

#include <mutex>

#include "base/log.h"
#include "base/signals.h"
#include "runtime/forks.h"
#include "runtime/leases.h"
#include "runtime/local_memory.h"
#include "runtime/node.h"
#include "runtime/pages.h"

namespace dsm::runtime {

void* SliceChunks::take(std::uint64_t chunks, std::size_t alignment) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  const Geometry& geometry = node_.geometry;
  const std::uint64_t start = geometry.address_of(geometry.slice_first(node_.self)) + (next_ << kPageShift);
  const std::uint64_t address = (start + alignment - 1) & ~(static_cast<std::uint64_t>(alignment) - 1);
  const PageId first = geometry.page_of(address);
  const std::uint64_t end = first - geometry.slice_first(node_.self) + chunks * kPagesPerChunk;
  if (chunks > geometry.slice_pages() / kPagesPerChunk || end > geometry.slice_pages()) return nullptr;
  const auto opened = node_.space->open_private(first, chunks);
  if (!opened) {
    log(LogLevel::kError, "heap", "cannot map {} more chunks: {}", chunks, describe(opened.error()));
    return nullptr;
  }
  next_ = end;
  return reinterpret_cast<void*>(address);
}

void SliceChunks::hold_for_fork() {
  sharing_lock_.lock();
  lock_.lock();
}

void SliceChunks::release_after_fork() {
  lock_.unlock();
  sharing_lock_.unlock();
}

bool SliceChunks::purge(void* address, std::size_t bytes) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(sharing_lock_);
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  for (std::uintptr_t at = begin & ~(kChunkBytes - 1); at < begin + bytes; at += kChunkBytes) {
    if (node_.space->state(node_.geometry.page_of(at)) != mem::ChunkState::kPrivate) return false;
  }
  return ::madvise(address, bytes, MADV_DONTNEED) == 0;
}

// A forked child is no node: it leases nothing and gives nothing up. Its memory is ordinary, at addresses of this
// range. (What it frees stays: dropped pages would come back as they were at the fork.)
void* LentChunks::take(std::uint64_t chunks, std::size_t alignment) {
  const SignalsBlocked blocked;
  if (in_forked_child()) {
    const std::lock_guard guard(child_lock_);
    const auto taken = node_.leases->take_for_child(chunks, alignment / kChunkBytes);
    if (!taken) return nullptr;
    void* const wanted = reinterpret_cast<void*>(node_.geometry.address_of(*taken));
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    return ::mmap(wanted, chunks * kChunkBytes, PROT_READ | PROT_WRITE, kFlags, -1, 0) == wanted ? wanted : nullptr;
  }
  const auto first = node_.leases->lease(chunks, alignment / kChunkBytes);
  if (!first) return nullptr;
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
    node_.pages->hint({*first + chunk * kPagesPerChunk, kPagesPerChunk}, {.kind = proto::EventKind::kFresh});
  }
  return reinterpret_cast<void*>(node_.geometry.address_of(*first));
}

bool LentChunks::purge(void* address, std::size_t bytes) {
  if (in_forked_child()) return false;
  const SignalsBlocked blocked;
  const PageId first = node_.geometry.page_of(reinterpret_cast<std::uintptr_t>(address));
  return node_.local->discard({first, static_cast<std::uint32_t>(bytes >> kPageShift)});
}

}  // namespace dsm::runtime
