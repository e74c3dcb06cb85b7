// What an allocation and its free cost, in nanoseconds: `bench_alloc [pairs]`, one number. The same source makes two
// programs: this one knows nothing of libdsm and is run on the preload library, bench_alloc_api calls dsm::alloc.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#ifdef DSM_BENCH_API
#include <dsm/dsm.h>
namespace {
void* take(std::size_t bytes) { return dsm::alloc(bytes); }
void give(void* block) { dsm::free(block); }
bool start() { return !dsm::start(); }
}  // namespace
#else
namespace {
void* take(std::size_t bytes) { return std::malloc(bytes); }
void give(void* block) { std::free(block); }
bool start() { return true; }
}  // namespace
#endif

namespace {

constexpr int kHeld = 64;

double ns_of_a_pair(std::uint64_t pairs) {
  void* held[kHeld]{};
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < pairs; ++i) {
    void*& slot = held[i % kHeld];
    if (slot != nullptr) give(slot);
    slot = take(16 + i % 7 * 16);
    *static_cast<volatile char*>(slot) = 1;
  }
  const auto end = std::chrono::steady_clock::now();
  for (void* const block : held) give(block);
  return std::chrono::duration<double, std::nano>(end - begin).count() / static_cast<double>(pairs);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--help") == 0) {
    std::puts("Usage: bench_alloc [PAIRS]\n\nNanoseconds of an allocation and its free, over PAIRS (5000000) of them.");
    return 0;
  }
  if (!start()) return 1;
  const std::uint64_t pairs = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 5'000'000;
  ns_of_a_pair(pairs / 8 + 1);
  std::printf("%.2f\n", ns_of_a_pair(pairs));
}
