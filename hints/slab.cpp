#include "hints/slab.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>

#include "base/no_memory.h"
#include "base/types.h"
#include "net/transport.h"

namespace dsm::hints {
namespace {

std::size_t class_of(std::size_t bytes) {
  return bytes <= Slab::kSmallest ? 0 : static_cast<std::size_t>(std::bit_width(bytes - 1)) - 6;
}

}  // namespace

std::byte* Slab::map(std::size_t bytes) const {
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) end_without_memory("the object cache, which DSM_OBJECT_CACHE bounds");
  auto* const bytes_there = static_cast<std::byte*>(memory);
  if (transport_ != nullptr) transport_->lend(bytes_there, bytes);
  return bytes_there;
}

void Slab::unmap(Large large) const {
  if (transport_ != nullptr) return transport_->unmap_lent(large.memory, large.bytes);
  ::munmap(large.memory, large.bytes);
}

std::byte* Slab::take_large(std::size_t bytes) {
  for (std::size_t i = kept_count_; i-- > 0;) {
    if (kept_[i].bytes != bytes) continue;
    std::byte* const memory = kept_[i].memory;
    std::copy(kept_.begin() + i + 1, kept_.begin() + kept_count_, kept_.begin() + i);
    --kept_count_;
    kept_bytes_ -= bytes;
    return memory;
  }
  return map(bytes);
}

void Slab::give_large(Large large) {
  if (large.bytes > most_kept_) return unmap(large);
  while (kept_count_ == kept_.size() || kept_bytes_ + large.bytes > most_kept_) {
    kept_bytes_ -= kept_[0].bytes;
    unmap(kept_[0]);
    std::copy(kept_.begin() + 1, kept_.begin() + kept_count_, kept_.begin());
    --kept_count_;
  }
  kept_[kept_count_++] = large;
  kept_bytes_ += large.bytes;
}

std::size_t Slab::taken(std::size_t bytes) {
  const std::size_t size_class = class_of(bytes);
  return size_class < kClasses ? kSmallest << size_class : up_to_page(bytes);
}

std::byte* Slab::take(std::size_t bytes) {
  const std::size_t size_class = class_of(bytes), whole = taken(bytes);
  if (size_class >= kClasses) return take_large(whole);
  if (Free* free = free_[size_class]) {
    free_[size_class] = free->next;
    return reinterpret_cast<std::byte*>(free);
  }
  if (block_bytes_ < whole) {
    while (block_bytes_ >= kSmallest) {  // the rest of the old one, in pieces
      const std::size_t piece = std::bit_floor(block_bytes_);
      block_bytes_ -= piece;
      give(block_ + block_bytes_, piece);
    }
    block_ = map(kBlock);
    block_bytes_ = kBlock;
  }
  block_bytes_ -= whole;
  return block_ + block_bytes_;
}

void Slab::give(std::byte* memory, std::size_t bytes) {
  const std::size_t size_class = class_of(bytes);
  if (size_class >= kClasses) return give_large({memory, taken(bytes)});
  free_[size_class] = ::new (memory) Free{free_[size_class]};
}

}  // namespace dsm::hints
