// What locks and barriers cost: dsmrun -n NODES -- bench_sync THREADS (of each node). Node 0 prints, in ns or us.
//
//   local        lock and unlock by a node that has the lock
//   hand-over    lock() by a node when another has it and does not need it; nobody else is at work
//   contended    time from one holder to the next while all threads want the lock and hold it for no time
//   barrier      arrive_and_wait of all threads
#include <dsm/dsm.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "bench/micro/bench_rows.h"

namespace {

using Clock = std::chrono::steady_clock;
using dsm::bench::median;

double since_us(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

struct World {
  World(std::size_t node_count, std::size_t threads) : nodes(node_count), all(threads) {}
  dsm::mutex mutex;
  dsm::shared_mutex shared;
  dsm::barrier nodes, all;
};

template <typename Lock>
double local_ns(Lock lock) {
  constexpr int kRounds = 1'000'000;
  lock();  // now the node has it
  const auto begin = Clock::now();
  for (int round = 0; round < kRounds; ++round) lock();
  return since_us(begin) * 1000 / kRounds;
}

// The nodes take turns; each turn is one hand-over.
double hand_over_us(World& world) {
  constexpr unsigned kRounds = 300;
  std::vector<double> times;
  for (unsigned round = 0; round < kRounds; ++round) {
    if (round % dsm::nodes() == dsm::node()) {
      const auto begin = Clock::now();
      world.mutex.lock();
      times.push_back(since_us(begin));
      world.mutex.unlock();
    }
    world.nodes.arrive_and_wait();
  }
  return median(times);
}

template <typename Act>
double on_all_threads_us(unsigned threads, World& world, unsigned rounds, Act act) {
  double elapsed = 0;
  std::vector<std::thread> all;
  for (unsigned i = 0; i < threads; ++i) {
    all.emplace_back([&, i] {
      world.all.arrive_and_wait();
      const auto begin = Clock::now();
      for (unsigned round = 0; round < rounds; ++round) act();
      world.all.arrive_and_wait();
      if (i == 0) elapsed = since_us(begin);
    });
  }
  for (auto& thread : all) thread.join();
  return elapsed / rounds;
}

}  // namespace

int main(int argc, char** argv) {
  unsigned threads = 1;
  CLI::App cli{"What locks and barriers cost: alone, handed from node to node, and with all threads at one lock."};
  cli.add_option("THREADS", threads, "of each node")->check(CLI::Range(1U, 256U))->capture_default_str();
  CLI11_PARSE(cli, argc, argv);
  if (dsm::start()) return 2;
  if (dsm::node() == 0) {
    auto* made = dsm::make<World>(dsm::nodes(), std::size_t{dsm::nodes()} * threads);
    if (made == nullptr || dsm::publish("bench", made)) return 1;
  }
  World& world = *static_cast<World*>(dsm::lookup("bench"));
  const bool prints = dsm::node() == 0;
  if (prints) {
    std::printf("local mutex        %8.1f ns\n", local_ns([&] { const std::lock_guard guard(world.mutex); }));
    std::printf("local shared_mutex %8.1f ns\n", local_ns([&] { const std::shared_lock guard(world.shared); }));
  }
  world.nodes.arrive_and_wait();
  if (dsm::nodes() > 1) {
    const double us = hand_over_us(world);
    if (prints) std::printf("hand-over          %8.2f us\n", us);
    const double all = dsm::nodes() * threads;
    const double contended = on_all_threads_us(threads, world, 10000, [&] { const std::lock_guard g(world.mutex); });
    if (prints) std::printf("contended          %8.2f us per lock\n", contended / all);
  }
  const double barrier = on_all_threads_us(threads, world, 2000, [&] { world.all.arrive_and_wait(); });
  if (prints) std::printf("barrier            %8.2f us\n", barrier);
  return 0;
}
