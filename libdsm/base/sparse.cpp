#include "base/sparse.h"

#include <sys/mman.h>

namespace dsm {

void* map_sparse_bytes(std::size_t bytes, AtFork at_fork) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (at_fork == AtFork::kAbsent) ::madvise(memory, bytes, MADV_DONTFORK);
  return memory;
}

}  // namespace dsm
