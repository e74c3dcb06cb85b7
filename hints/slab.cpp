#include "hints/slab.h"

#include <sys/mman.h>

#include <bit>
#include <new>

#include "base/no_memory.h"
#include "base/types.h"

namespace dsm::hints {
namespace {

std::size_t class_of(std::size_t bytes) {
  return bytes <= Slab::kSmallest ? 0 : static_cast<std::size_t>(std::bit_width(bytes - 1)) - 6;
}

std::byte* map(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) end_without_memory("the object cache, which DSM_OBJECT_CACHE bounds");
  return static_cast<std::byte*>(memory);
}

}  // namespace

std::size_t Slab::taken(std::size_t bytes) {
  const std::size_t size_class = class_of(bytes);
  return size_class < kClasses ? kSmallest << size_class : (bytes + kPageBytes - 1) & ~(kPageBytes - 1);
}

std::byte* Slab::take(std::size_t bytes) {
  const std::size_t size_class = class_of(bytes), whole = taken(bytes);
  if (size_class >= kClasses) return map(whole);
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
  if (size_class >= kClasses) {
    ::munmap(memory, taken(bytes));
    return;
  }
  free_[size_class] = ::new (memory) Free{free_[size_class]};
}

}  // namespace dsm::hints
