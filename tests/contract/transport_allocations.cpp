// Counts the program's allocations. In a file of its own, so that no compiler sees through new and delete.
#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/contract/transport_world.h"

namespace {
std::atomic<std::uint64_t> allocations{0};
}  // namespace

std::uint64_t dsm::net::test::allocation_count() { return allocations.load(); }

void* operator new(std::size_t bytes) {
  ++allocations;
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
