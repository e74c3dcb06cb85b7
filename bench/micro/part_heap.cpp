// Fresh unshared memory beside plain jemalloc, and system calls on shared pages.
#include <dsm/dsm.h>
#include <fmt/core.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "bench/micro/page_parts.h"

namespace dsm::bench {
namespace {

struct Cell {
  Cell* next;
  std::uint64_t payload[7];
};

// Allocates many small cells, chains them in a random order, walks the chain; milliseconds.
template <typename Allocate>
double build_and_chase(std::size_t cells, Allocate allocate) {
  const auto order = shuffled(cells, 7);
  std::vector<Cell*> all(cells);
  const auto begin = Clock::now();
  for (Cell*& cell : all) cell = new (allocate(sizeof(Cell))) Cell{};
  for (std::size_t i = 0; i < cells; ++i) all[order[i]]->next = all[order[(i + 1) % cells]];
  Cell* at = all[order[0]];
  std::uint64_t sum = 0;
  for (std::size_t step = 0; step < 3 * cells; ++step) {
    sum += at->payload[0] + 1;
    at = at->next;
  }
  if (sum != 3 * cells) std::abort();
  return us_since(begin) / 1000;
}

std::size_t cells(const Context& context) { return context.quick ? 200'000 : 1'000'000; }

}  // namespace

void heap_ours(Context& context) {
  context.report("heap", build_and_chase(cells(context), [](std::size_t bytes) { return dsm::alloc(bytes); }), "ms");
}

void heap_plain(Context& context) {
  context.report("heap", build_and_chase(cells(context), [](std::size_t bytes) { return std::malloc(bytes); }), "ms");
}

// Straight into pages that other nodes hold: read, write and futex must do what they do anywhere.
void system_calls(Context& context) {
  constexpr std::size_t kBytes = 64 * kPage;
  const int rounds = context.quick ? 20 : 100;
  std::byte* const block = shared_block("block", kBytes, 1);
  int wrong = 0;
  std::vector<double> times[3];
  for (int round = 0; round < rounds; ++round) {
    if (dsm::node() == 1) std::memset(block, round, kBytes);
    meet();
    if (dsm::node() == 0) {
      const int file = ::memfd_create("calls", MFD_CLOEXEC);
      std::vector<std::byte> copy(kBytes);
      auto begin = Clock::now();
      wrong += ::write(file, block, kBytes) != static_cast<ssize_t>(kBytes);
      times[0].push_back(us_since(begin) / 64);
      wrong +=
          ::pread(file, copy.data(), kBytes, 0) != static_cast<ssize_t>(kBytes) || copy[kBytes - 1] != std::byte(round);
      begin = Clock::now();
      wrong += ::pread(file, block, kBytes, 0) != static_cast<ssize_t>(kBytes);
      times[1].push_back(us_since(begin) / 64);
      dsm::release(block, kPage);
      begin = Clock::now();
      // Returns at once with EAGAIN: the kernel has read the word and found another value.
      wrong += ::syscall(SYS_futex, block, FUTEX_WAIT, ~0U, nullptr, nullptr, 0) != -1 || errno != EAGAIN;
      times[2].push_back(us_since(begin));
      ::close(file);
    }
    meet();
  }
  if (dsm::node() != 0) return;
  const char* names[] = {"write() from pages of another node, each page",
                         "read() into pages of another node, each page", "futex() on a page of another node"};
  for (int i = 0; i < 3; ++i) context.report(names[i], median(times[i]), "us");
  context.report("  system calls that failed or gave wrong bytes", wrong, "", {}, {}, Goal::kValueAtMost, 0);
}

}  // namespace dsm::bench
