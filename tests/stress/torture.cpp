// Many threads of many nodes hammer a few shared pages with plain reads, plain writes and atomics, and everything that
// can be checked is. Started by dsmrun. Each page holds, side by side so that they share it falsely:
//   - words that every thread increments atomically: in the end their sum is the number of increments;
//   - one word per thread that only it writes, always by one more: it must find what it wrote last, and others must
//     never see it go back;
//   - a pair under a spin lock of std::atomic: y must be ~x whenever the lock is held.
#include <dsm/dsm.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include "support/command_line.h"

namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr unsigned kMaxThreads = 256;
constexpr unsigned kCounters = 8;

struct Page {
  std::atomic<std::uint64_t> counter[kCounters];
  std::atomic<std::uint64_t> own[kMaxThreads];  // relaxed: plain moves on x86
  std::atomic<std::uint32_t> lock;
  std::uint64_t x, y;
};
static_assert(sizeof(Page) <= kPageBytes);

struct Options {
  unsigned pages = 64;
  unsigned threads = 2;
  double seconds = 5;
  std::uint64_t seed = 1;
  std::string placement = "spread";
};

struct Tally {
  std::uint64_t operations = 0, increments = 0, pairs = 0, wrong = 0;
  double worst_wait_ms = 0;
};

// What all threads report to node 0.
struct Board {
  std::atomic<std::uint64_t> increments, pairs, operations, wrong, worst_us, threads_done, least_operations;
};

class Hammer {
 public:
  Hammer(const std::vector<Page*>& pages, unsigned thread, unsigned threads, std::uint64_t seed)
      : pages_(pages),
        thread_(thread),
        threads_(threads),
        random_(seed),
        last_own_(pages.size(), 0),
        seen_(pages.size() * threads, 0) {}

  Tally run(double seconds) {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    for (auto now = Clock::now(); now < end;) {
      one();
      const auto after = Clock::now();
      tally_.worst_wait_ms =
          std::max(tally_.worst_wait_ms, std::chrono::duration<double, std::milli>(after - now).count());
      now = after;
      ++tally_.operations;
    }
    return tally_;
  }

 private:
  void one() {
    const std::size_t index = random_() % pages_.size();
    Page& page = *pages_[index];
    switch (random_() % 4) {
      case 0:
        page.counter[random_() % kCounters].fetch_add(1);
        ++tally_.increments;
        break;
      case 1: {
        auto& own = page.own[thread_];
        expect(own.load(std::memory_order_relaxed) == last_own_[index], "a thread's own write was lost");
        own.store(++last_own_[index], std::memory_order_relaxed);
        break;
      }
      case 2: {
        const unsigned other = static_cast<unsigned>(random_() % threads_);
        const std::uint64_t value = page.own[other].load(std::memory_order_relaxed);
        std::uint64_t& seen = seen_[index * threads_ + other];
        expect(value >= seen, "another thread's word went back");
        seen = value;
        break;
      }
      case 3:
        locked(page);
        break;
    }
  }

  void locked(Page& page) {
    if (page.lock.exchange(1, std::memory_order_acquire) != 0) return;
    expect(page.y == ~page.x, "a pair under a lock was torn");
    ++page.x;
    page.y = ~page.x;
    page.lock.store(0, std::memory_order_release);
    ++tally_.pairs;
  }

  void expect(bool right, const char* what) {
    if (right) return;
    if (tally_.wrong++ < 3) std::fprintf(stderr, "torture: node %u thread %u: %s\n", dsm::node(), thread_, what);
  }

  const std::vector<Page*>& pages_;
  const unsigned thread_, threads_;
  std::mt19937_64 random_;
  std::vector<std::uint64_t> last_own_, seen_;
  Tally tally_;
};

void report(Board& board, const Tally& tally) {
  board.increments += tally.increments;
  board.pairs += tally.pairs;
  board.operations += tally.operations;
  board.wrong += tally.wrong;
  const auto raise = [](std::atomic<std::uint64_t>& most, std::uint64_t value) {
    for (std::uint64_t seen = most; value > seen && !most.compare_exchange_weak(seen, value);) {
    }
  };
  raise(board.worst_us, static_cast<std::uint64_t>(tally.worst_wait_ms * 1000));
  raise(board.least_operations, ~tally.operations);  // kept inverted: zero-initialised memory, greatest is least
  ++board.threads_done;
}

// Node 0's part of the pages in slices, the rest likewise, so that every node is home of some.
std::vector<Page*> share_pages(const Options& options) {
  std::vector<Page*> pages(options.pages);
  const std::size_t granule = options.placement == "interleaved" ? std::size_t{1} << 16 : kPageBytes;
  if (options.placement == "interleaved") {
    auto* block = static_cast<std::byte*>(dsm::alloc_collective(granule * options.pages));
    for (unsigned i = 0; i < options.pages; ++i) pages[i] = reinterpret_cast<Page*>(block + i * granule);
    return pages;
  }
  const unsigned nodes = dsm::nodes(), per_node = (options.pages + nodes - 1) / nodes;
  std::vector<std::byte*> blocks;
  for (unsigned node = 0; node < nodes; ++node) {
    const auto home = options.placement == "one" ? 0 : node;
    blocks.push_back(
        static_cast<std::byte*>(dsm::alloc_collective(per_node * kPageBytes + kPageBytes, dsm::on_node(home))));
  }
  for (unsigned i = 0; i < options.pages; ++i) {
    const auto base = (reinterpret_cast<std::uintptr_t>(blocks[i % nodes]) + kPageBytes - 1) & ~(kPageBytes - 1);
    pages[i] = reinterpret_cast<Page*>(base + i / nodes * kPageBytes);
  }
  return pages;
}

// Sums over all pages against what the threads say they did.
bool check(const std::vector<Page*>& pages, const Board& board) {
  std::uint64_t increments = 0, pairs = 0;
  bool whole = true;
  for (const Page* page : pages) {
    for (const auto& counter : page->counter) increments += counter;
    pairs += page->x;
    whole &= page->y == ~page->x;
  }
  std::printf("%-28s %15s %15s\n", "", "done", "found");
  std::printf("%-28s %15lu %15lu\n", "atomic increments", board.increments.load(), increments);
  std::printf("%-28s %15lu %15lu\n", "updates under a lock", board.pairs.load(), pairs);
  std::printf("%-28s %15lu\n", "operations", board.operations.load());
  std::printf("%-28s %15lu\n", "fewest by one thread", ~board.least_operations.load());
  std::printf("%-28s %15.3f\n", "worst wait, ms", static_cast<double>(board.worst_us) / 1000);
  std::printf("%-28s %15lu\n", "wrong values", board.wrong.load());
  return whole && increments == board.increments && pairs == board.pairs && board.wrong == 0 &&
         ~board.least_operations.load() != 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  dsm::support::CommandLine app("Hammers shared pages from all nodes and checks every value (start it with dsmrun).");
  app.option("--pages", options.pages, "shared pages").range(1u, 4096u).show_default();
  app.option("--threads", options.threads, "threads of each node").range(1u, 32u).show_default();
  app.option("--seconds", options.seconds, "how long").range(0.1, 86400.0).show_default();
  app.option("--seed", options.seed, "of the random choices").show_default();
  app.option("--placement", options.placement, "homes of the pages: spread, one, interleaved")
      .one_of({"spread", "one", "interleaved"})
      .show_default();
  if (const auto status = app.parse(argc, argv)) return *status;
  if (dsm::start()) return 1;

  const unsigned threads = dsm::nodes() * options.threads;
  if (threads > kMaxThreads) {
    std::fprintf(stderr, "torture: at the most %u threads in all\n", kMaxThreads);
    return 64;
  }
  const std::vector<Page*> pages = share_pages(options);
  auto* board = static_cast<Board*>(dsm::alloc_collective(sizeof(Board)));
  if (dsm::node() == 0) {
    for (Page* page : pages) page->y = ~page->x;
    dsm::publish("barrier", dsm::make<dsm::barrier>(dsm::nodes()));
  }
  auto* barrier = static_cast<dsm::barrier*>(dsm::lookup("barrier"));
  barrier->arrive_and_wait();

  std::vector<std::thread> workers;
  for (unsigned t = 0; t < options.threads; ++t) {
    workers.emplace_back([&, thread = dsm::node() * options.threads + t] {
      Hammer hammer(pages, thread, threads, options.seed * 1000 + thread);
      report(*board, hammer.run(options.seconds));
    });
  }
  for (std::thread& worker : workers) worker.join();
  barrier->arrive_and_wait();
  bool right = true;
  if (dsm::node() == 0) {
    right = check(pages, *board);
    std::printf("torture: %s\n", right ? "every checksum right" : "WRONG");
  }
  barrier->arrive_and_wait();
  return right ? 0 : 1;
}
