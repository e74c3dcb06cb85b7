// What locks and barriers cost: dsmrun -n NODES -- bench_sync THREADS (of each node). Node 0 prints, beside the same by
// as many threads of one process with what the C++ library has.
//
//   local        lock and unlock by a node that has the lock
//   hand-over    lock() by a node when another has it and does not need it; nobody else is at work
//   contended    time from one holder to the next while all threads want the lock and hold it for no time
//   barrier      arrive_and_wait of all threads
#include <dsm/dsm.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "bench/micro/bench_rows.h"
#include "support/command_line.h"

namespace {

using Clock = std::chrono::steady_clock;
using dsm::bench::median;
using dsm::bench::Row;

double since_us(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

struct World {
  World(std::size_t node_count, std::size_t threads) : nodes(node_count), all(threads) {}
  dsm::mutex mutex;
  dsm::shared_mutex shared;
  dsm::barrier nodes, all;
};

constexpr unsigned kHandOvers = 300, kContended = 10'000, kBarriers = 2'000;

template <typename Lock>
double local_ns(Lock lock) {
  constexpr int kRounds = 1'000'000;
  lock();  // now the node has it
  const auto begin = Clock::now();
  for (int round = 0; round < kRounds; ++round) lock();
  return since_us(begin) * 1000 / kRounds;
}

// `sides` take turns, of which the caller is number `side`; each turn is one hand-over.
template <typename Mutex, typename Meet>
double hand_over_us(Mutex& mutex, unsigned side, unsigned sides, Meet meet) {
  std::vector<double> times;
  for (unsigned round = 0; round < kHandOvers; ++round) {
    if (round % sides == side) {
      const auto begin = Clock::now();
      mutex.lock();
      times.push_back(since_us(begin));
      mutex.unlock();
    }
    meet();
  }
  return median(times);
}

// Runs `act` so often on each of `threads` threads, which begin and end together; microseconds a round.
template <typename Meet, typename Act>
double on_all_threads_us(unsigned threads, unsigned rounds, Meet meet, Act act) {
  double elapsed = 0;
  std::vector<std::thread> all;
  for (unsigned i = 0; i < threads; ++i) {
    all.emplace_back([&, i] {
      meet();
      const auto begin = Clock::now();
      for (unsigned round = 0; round < rounds; ++round) act();
      meet();
      if (i == 0) elapsed = since_us(begin);
    });
  }
  for (auto& thread : all) thread.join();
  return elapsed / rounds;
}

// The same with the C++ library's own, all threads in one process.
struct Peers {
  explicit Peers(unsigned all_threads) : threads(all_threads), barrier(all_threads) {}

  double local_mutex_ns() {
    return local_ns([&] { const std::lock_guard guard(mutex); });
  }
  double local_shared_ns() {
    std::shared_mutex shared;
    return local_ns([&] { const std::shared_lock guard(shared); });
  }
  double turns_us(unsigned sides) {
    std::barrier turn(sides);
    double taken = 0;
    std::vector<std::thread> all;
    for (unsigned side = 0; side < sides; ++side) {
      all.emplace_back([&, side] {
        const double us = hand_over_us(mutex, side, sides, [&] { turn.arrive_and_wait(); });
        if (side == 0) taken = us;
      });
    }
    for (auto& thread : all) thread.join();
    return taken;
  }
  double contended_us() {
    return on_all_threads_us(
        threads, kContended, [&] { barrier.arrive_and_wait(); }, [&] { const std::lock_guard guard(mutex); });
  }
  double barrier_us() {
    const auto meet = [&] { barrier.arrive_and_wait(); };
    return on_all_threads_us(threads, kBarriers, meet, meet);
  }

  unsigned threads;
  std::mutex mutex;
  std::barrier<> barrier;
};

// Every node calls it; what node 0 returns counts.
std::vector<Row> measure(World& world, unsigned threads) {
  const bool reports = dsm::node() == 0;
  std::vector<Row> rows;
  Peers peers(dsm::nodes() * threads);
  const double all = dsm::nodes() * threads;
  const auto meet_all = [&] { world.all.arrive_and_wait(); };
  const auto meet_nodes = [&] { world.nodes.arrive_and_wait(); };
  const auto add = [&](const char* name, double value, const char* unit, double peer, const char* peer_name) {
    rows.push_back({name, value, unit, peer, peer_name});
  };
  if (reports) {
    const double ns = local_ns([&] { const std::lock_guard guard(world.mutex); });
    add("mutex, kept by its node", ns, "ns", peers.local_mutex_ns(), "std::mutex");
    const double shared_ns = local_ns([&] { const std::shared_lock guard(world.shared); });
    add("shared_mutex, kept by its node", shared_ns, "ns", peers.local_shared_ns(), "std::shared_mutex");
  }
  meet_nodes();
  if (dsm::nodes() > 1) {
    const double turn_us = hand_over_us(world.mutex, dsm::node(), dsm::nodes(), meet_nodes);
    if (reports) add("hand-over", turn_us, "us", peers.turns_us(dsm::nodes()), "std::mutex, threads");
    meet_nodes();
    const double us =
        on_all_threads_us(threads, kContended, meet_all, [&] { const std::lock_guard guard(world.mutex); });
    if (reports) add("contended, a lock", us / all, "us", peers.contended_us() / all, "std::mutex, threads");
    meet_nodes();
  }
  const double us = on_all_threads_us(threads, kBarriers, meet_all, meet_all);
  if (reports) add("barrier", us, "us", peers.barrier_us(), "std::barrier, threads");
  meet_nodes();
  return rows;
}

}  // namespace

int main(int argc, char** argv) {
  unsigned threads = 1;
  bool json = false;
  dsm::support::CommandLine cli{
      "What locks and barriers cost: alone, handed from node to node, and with all threads at one lock."};
  cli.option("THREADS", threads, "of each node").range(1U, 256U).show_default();
  cli.flag("--json", json, "one JSON object a row instead of the table");
  if (const auto status = cli.parse(argc, argv)) return *status;
  if (dsm::start()) return 2;
  if (dsm::node() == 0) {
    auto* made = dsm::make<World>(dsm::nodes(), std::size_t{dsm::nodes()} * threads);
    if (made == nullptr || dsm::publish("bench", made)) return 1;
  }
  const std::vector<Row> rows = measure(*static_cast<World*>(dsm::lookup("bench")), threads);
  if (dsm::node() != 0) return 0;
  if (!json) dsm::bench::print_table(rows);
  for (const Row& row : rows) {
    if (json) std::printf("%s\n", row.to_json().c_str());
  }
  return 0;
}
