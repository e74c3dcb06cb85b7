// Nodes that want the same page, lock or barrier.
#include <dsm/dsm.h>
#include <fmt/core.h>
#include <pthread.h>
#include <sys/mman.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "bench/micro/bare.h"
#include "bench/micro/page_parts.h"

namespace dsm::bench {
namespace {

using Word = std::atomic<std::uint64_t>;

// Two sides take turns on a word; microseconds a hand-over.
double alternate(Word& turn, unsigned side, std::uint64_t rounds) {
  const auto begin = Clock::now();
  for (std::uint64_t round = side; round < rounds; round += 2) {
    while (turn.load(std::memory_order_acquire) != round) __builtin_ia32_pause();
    turn.store(round + 1, std::memory_order_release);
  }
  return us_since(begin) / static_cast<double>(rounds);
}

// The same by two threads on ordinary memory.
template <typename Work>
void with_other_thread(Work work) {
  std::thread other([&] { work(1U); });
  work(0U);
  other.join();
}

// What one thread pays for its turn at a page, without anybody to wait for: two faults, their signals, and the mapping
// made, opened and taken away.
double bare_turn_us(std::uint64_t rounds) {
  Bare bare(kPage);
  auto& word = *reinterpret_cast<volatile std::uint64_t*>(bare.view());
  bare.arm(Bare::What::kTurn);
  const auto begin = Clock::now();
  for (std::uint64_t round = 0; round < rounds; ++round) {
    word = word + 1;
    bare.zap();
  }
  const double took = us_since(begin) / static_cast<double>(rounds);
  bare.disarm();
  return took;
}

std::uint64_t count_until(Word& counter, double seconds) {
  std::uint64_t done = 0;
  for (const auto begin = Clock::now(); us_since(begin) < seconds * 1e6;) {
    for (int i = 0; i < 64; ++i, ++done) counter.fetch_add(1);
  }
  return done;
}

}  // namespace

void alternation(Context& context) {
  const std::uint64_t rounds = context.quick ? 2'000 : 20'000;
  Word& turn = *reinterpret_cast<Word*>(shared_block("turn", kPage, 0));
  meet();
  const double ours = alternate(turn, dsm::node(), rounds);
  meet();
  if (dsm::node() != 0) return;
  context.report("strict alternation of two nodes on one page", ours, "us", bare_turn_us(rounds),
                 "the bare faults and signals of a turn", Goal::kValueAtMost, 20);
}

void counter(Context& context) {
  const double seconds = context.quick ? 0.5 : 2;
  Word* const words = reinterpret_cast<Word*>(shared_block("counter", kPage, 0));
  Word* const tally = reinterpret_cast<Word*>(shared_block("tally", kPage, 0));
  meet();
  tally[dsm::node() * 8] = count_until(words[0], seconds);
  meet();
  if (dsm::node() != 0) return;
  const std::uint64_t first = tally[0], second = tally[8];
  Word plain{0};
  Word theirs{0};
  with_other_thread([&](unsigned) { theirs += count_until(plain, seconds); });
  context.report("two nodes increment one counter" + context.suffix, static_cast<double>(words[0]) / seconds / 1e6,
                 "M/s", static_cast<double>(theirs) / seconds / 1e6, "two threads, one cache line");
  context.report("  increments lost", static_cast<double>(first + second - words[0]), "", {}, {}, Goal::kValueAtMost,
                 0);
  context.report("  share of the slower node",
                 100.0 * static_cast<double>(std::min(first, second)) / static_cast<double>(first + second), "%");
}

void locks(Context& context) {
  const std::uint64_t rounds = context.quick ? 2'000 : 20'000;
  if (dsm::node() == 0) dsm::publish("mutex", dsm::make<dsm::mutex>());
  auto& mutex = *static_cast<dsm::mutex*>(dsm::lookup("mutex"));
  const auto lock_many = [](auto& lock, std::uint64_t times) {
    const auto begin = Clock::now();
    for (std::uint64_t i = 0; i < times; ++i) {
      lock.lock();
      lock.unlock();
    }
    return us_since(begin) / static_cast<double>(times);
  };
  if (dsm::node() == 0) {
    std::mutex plain;
    context.report("lock + unlock, uncontended, kept by its node" + context.suffix,
                   lock_many(mutex, rounds * 10) * 1000, "ns", lock_many(plain, rounds * 10) * 1000, "std::mutex");
  }
  Word& turn = *reinterpret_cast<Word*>(shared_block("turn", kPage, 0));
  meet();
  const double contended = lock_many(mutex, rounds);
  meet();
  // Hand-over: the turn goes with the lock, so that each acquisition comes from the other node.
  const std::uint64_t turns = rounds / 4;
  std::uint64_t tries = 0;
  const auto begin = Clock::now();
  for (std::uint64_t round = dsm::node(); round < turns; ++tries) {
    const std::lock_guard guard(mutex);
    if (turn.load() != round) continue;
    turn.store(round + 1);
    round += 2;
  }
  const double hand_over = us_since(begin) / static_cast<double>(turns);
  meet();
  if (dsm::node() != 0) return;
  std::mutex plain;
  double theirs = 0;
  with_other_thread([&](unsigned side) {
    const double took = lock_many(plain, rounds);
    if (side == 0) theirs = took;
  });
  context.report("lock + unlock, two nodes at once" + context.suffix, contended, "us", theirs,
                 "std::mutex, two threads");
  context.report("lock hand-off with a page under it" + context.suffix, hand_over, "us");
}

namespace {

double barrier_us(dsm::barrier& barrier, int rounds) {
  const auto begin = Clock::now();
  for (int i = 0; i < rounds; ++i) barrier.arrive_and_wait();
  return us_since(begin) / rounds;
}

}  // namespace

void barriers(Context& context) {
  const int rounds = context.quick ? 300 : 3'000;
  dsm::barrier& barrier = all_nodes();
  meet();
  const double ours = barrier_us(barrier, rounds);
  meet();
  if (dsm::node() != 0) return;
  pthread_barrier_t plain;
  ::pthread_barrier_init(&plain, nullptr, dsm::nodes());
  std::vector<std::thread> others;
  const auto wait_all = [&] {
    for (int i = 0; i < rounds; ++i) ::pthread_barrier_wait(&plain);
  };
  const auto begin = Clock::now();
  for (unsigned i = 1; i < dsm::nodes(); ++i) others.emplace_back(wait_all);
  wait_all();
  for (std::thread& other : others) other.join();
  context.report(fmt::format("barrier of {} nodes{}", dsm::nodes(), context.suffix), ours, "us",
                 us_since(begin) / rounds, "pthread_barrier, as many threads");
}

// A barrier must not cost more because its nodes hold many clean pages.
void barrier_and_cache(Context& context) {
  const int rounds = context.quick ? 300 : 2'000;
  const std::size_t bytes = (context.quick ? 32 : 256) * (std::size_t{1} << 20);
  dsm::barrier& barrier = all_nodes();
  std::byte* const block = shared_block("cached", bytes, 1);
  meet();
  std::vector<double> empty, full;
  for (int turn = 0; turn < 5; ++turn) {
    meet();
    empty.push_back(barrier_us(barrier, rounds));
    if (dsm::node() == 0) dsm::prefetch(block, bytes);
    meet();
    full.push_back(barrier_us(barrier, rounds));
    if (dsm::node() == 0) dsm::release(block, bytes);
  }
  meet();
  if (dsm::node() == 0) {
    context.report(fmt::format("barrier while {} MiB of clean pages are held", bytes >> 20), median(full), "us",
                   median(empty), "the same with none", Goal::kRatioAtMost, 1.2);
  }
}

}  // namespace dsm::bench
