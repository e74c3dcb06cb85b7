// Memory for large tables of which little is used: address space at once, pages at their first touch. All zero at
// first.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsm {

// Whether a forked child has the memory too.
enum class AtFork : std::uint8_t { kCopied, kAbsent };

// nullptr if there is no address space, with errno set.
void* map_sparse_bytes(std::size_t bytes, AtFork at_fork = AtFork::kCopied);

// T's initial state is all zero.
template <typename T>
T* map_sparse(std::uint64_t count, AtFork at_fork = AtFork::kCopied) {
  // NOLINTNEXTLINE(bugprone-sizeof-expression): T may be a pointer
  return static_cast<T*>(map_sparse_bytes(count * sizeof(T), at_fork));
}

}  // namespace dsm
