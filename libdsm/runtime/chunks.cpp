#include "runtime/chunks.h"

#include <sys/mman.h>

#include <mutex>

#include "base/log.h"
#include "base/signals.h"
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

bool SliceChunks::purge(void* address, std::size_t bytes) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(sharing_lock_);
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  for (std::uintptr_t at = begin & ~(kChunkBytes - 1); at < begin + bytes; at += kChunkBytes) {
    if (node_.space->state(node_.geometry.page_of(at)) != mem::ChunkState::kPrivate) return false;
  }
  return ::madvise(address, bytes, MADV_DONTNEED) == 0;
}

void* LentChunks::take(std::uint64_t chunks, std::size_t alignment) {
  const SignalsBlocked blocked;
  const auto first = node_.leases->lease(chunks, alignment / kChunkBytes);
  if (!first) return nullptr;
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
    node_.pages->hint({*first + chunk * kPagesPerChunk, kPagesPerChunk}, {.kind = proto::EventKind::kFresh});
  }
  return reinterpret_cast<void*>(node_.geometry.address_of(*first));
}

bool LentChunks::purge(void* address, std::size_t bytes) {
  const SignalsBlocked blocked;
  const PageId first = node_.geometry.page_of(reinterpret_cast<std::uintptr_t>(address));
  return node_.local->discard({first, static_cast<std::uint32_t>(bytes >> kPageShift)});
}

}  // namespace dsm::runtime
