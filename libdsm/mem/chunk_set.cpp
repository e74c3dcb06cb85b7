#include "mem/chunk_set.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/sparse.h"

namespace dsm::mem {
namespace {

std::size_t bytes_for(std::uint64_t chunks) { return (chunks / 64 + 1) * sizeof(std::uint64_t); }

}  // namespace

Result<ChunkSet> ChunkSet::make(const Geometry& geometry) {
  const std::uint64_t chunks = geometry.memory_bytes() / kChunkBytes;
  void* words = map_sparse_bytes(bytes_for(chunks));
  if (words == nullptr) return fail(Errc::kNoMemory, "cannot allocate the set of shared chunks", errno);
  return ChunkSet(geometry.base, chunks, static_cast<Word*>(words));
}

ChunkSet::ChunkSet(ChunkSet&& other) noexcept
    : base_(other.base_), chunks_(other.chunks_), words_(std::exchange(other.words_, nullptr)) {}

ChunkSet::~ChunkSet() {
  if (words_ != nullptr) munmap(words_, bytes_for(chunks_));
}

void ChunkSet::add(std::uintptr_t address, std::size_t bytes) {
  DSM_CHECK((address - base_) % kChunkBytes == 0 && bytes % kChunkBytes == 0, "{} bytes at {:#x}", bytes, address);
  const std::uint64_t first = (address - base_) / kChunkBytes;
  const std::uint64_t end = first + bytes / kChunkBytes;
  DSM_CHECK(end <= chunks_, "{} bytes at {:#x} lie outside the global range", bytes, address);
  for (std::uint64_t chunk = first, next = first; chunk < end; chunk = next) {  // a word at a time
    next = std::min(end, (chunk / kBits + 1) * kBits);
    const std::uint64_t ones = next - chunk == kBits ? ~std::uint64_t{0} : (std::uint64_t{1} << (next - chunk)) - 1;
    words_[chunk / kBits].fetch_or(ones << chunk % kBits, std::memory_order_release);
  }
}

bool ChunkSet::contains(std::uintptr_t address) const {
  const std::uint64_t chunk = (address - base_) / kChunkBytes;
  return chunk < chunks_ && bit(chunk);
}

}  // namespace dsm::mem
