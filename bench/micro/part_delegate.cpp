// Calls at the object, atomics at the home and guarded values, each beside what does the same without them.
#include <dsm/atomic.h>
#include <dsm/delegate.h>
#include <fmt/core.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <vector>

#include "bench/micro/delegate_parts.h"

namespace dsm::bench {
namespace {

constexpr std::size_t kWords = std::size_t{1} << 22;  // 32 MiB of them on each node

std::uint64_t next(std::uint64_t& state) {
  state = state * 6364136223846793005U + 1442695040888963407U;
  return state >> 20;
}

// What one thread does in `count` steps, in millions a second.
template <typename Act>
double millions(std::size_t count, Act act) {
  const auto begin = Clock::now();
  act(count);
  return static_cast<double>(count) / ns_since(begin) * 1e3;
}

// Sums what every node has measured; on node 0.
double sum_of_all(const char* name, double mine) {
  auto* const sums = reinterpret_cast<double*>(shared_block(name, kPage, 0));
  sums[dsm::node()] = mine;
  meet();
  double sum = 0;
  for (unsigned n = 0; n < dsm::nodes(); ++n) sum += sums[n];
  meet();
  return sum;
}

}  // namespace

// Random increments over the tables of all nodes; one thread a node.
void random_updates(ObjectContext& context) {
  const std::size_t count = context.quick ? 2'000'000 : 10'000'000;
  const int rounds = context.quick ? 3 : 5;
  std::vector<std::uint64_t*> tables;
  for (unsigned home = 0; home < dsm::nodes(); ++home) {
    const std::string name = "table " + std::to_string(home);
    tables.push_back(reinterpret_cast<std::uint64_t*>(shared_block(name.c_str(), kWords * 8, home)));
  }
  std::uint64_t state = dsm::node() * 77 + 1;
  const auto target = [&] {
    const std::uint64_t random = next(state);
    return tables[random & (dsm::nodes() - 1)] + (random >> 8) % kWords;
  };
  std::vector<double> ours, bare, buffered;
  std::vector<std::uint64_t> plain(kWords);
  for (int round = -1; round < rounds; ++round) {  // the first brings the pages into object mode
    meet();
    const double rate = millions(count, [&](std::size_t times) {
      for (std::size_t i = 0; i < times; ++i) dsm::call_at_async(target(), [](std::uint64_t& word) { ++word; });
      dsm::flush();
    });
    meet();
    if (round >= 0) ours.push_back(rate);
    bare.push_back(millions(count, [&](std::size_t times) {
      for (std::size_t i = 0; i < times; ++i) {
        std::atomic_ref<std::uint64_t>(plain[(next(state) >> 8) % kWords]).fetch_add(1, std::memory_order_relaxed);
      }
    }));
  }
  const double all = sum_of_all("rates", median(ours)), all_bare = sum_of_all("bare rates", median(bare));
  std::uint64_t words = 0;
  for (std::size_t i = 0; i < kWords; ++i) words += tables[dsm::node()][i];
  const double counted = sum_of_all("words", static_cast<double>(words));
  if (counted != static_cast<double>(count) * (rounds + 1) * dsm::nodes()) {
    std::fprintf(stderr, "bench_delegate: %.0f increments are there, not all\n", counted);
    std::exit(70);
  }
  if (dsm::node() != 0) return;
  context.report(fmt::format("random increments, {} nodes: posted calls", dsm::nodes()), all, "M/s", all_bare,
                 "atomic increments in plain memory, as many threads", Goal::kValueAtLeast, dsm::nodes() == 2 ? 20 : 0);
}

// Node 0, at a word of node 1, whose threads sleep.
void waiting_calls(ObjectContext& context) {
  const int batches = context.quick ? 11 : 51;
  auto* const word = reinterpret_cast<dsm::atomic<std::uint64_t>*>(shared_block("word", kPage, 1));
  auto* const here = reinterpret_cast<dsm::atomic<std::uint64_t>*>(shared_block("here", kPage, 0));
  auto* const object = reinterpret_cast<Object*>(shared_block("object", kPage, 1));
  auto* const page = reinterpret_cast<std::atomic<std::uint64_t>*>(shared_block("page", kPage, 0));
  meet();
  if (dsm::node() == 0) {
    std::uint64_t mine = 0;
    const double bare = each_ns(batches, 1000, [&](std::size_t) { std::atomic_ref<std::uint64_t>(mine).fetch_add(1); });
    const double remote = each_ns(batches, 1000, [&](std::size_t) { word->fetch_add(1); });
    context.report("dsm::atomic fetch_add, remote", remote, "ns", bare, "an atomic add in plain memory",
                   Goal::kValueAtMost, 1000);
    context.report("dsm::atomic fetch_add, at the home",
                   each_ns(batches, 1000, [&](std::size_t) { here->fetch_add(1); }), "ns", bare,
                   "an atomic add in plain memory");
    page->fetch_add(1);
    context.report("std::atomic fetch_add, page held", each_ns(batches, 1000, [&](std::size_t) { page->fetch_add(1); }),
                   "ns", bare, "an atomic add in plain memory");
    const auto call = [&](std::size_t) { dsm::call_at(object, [](Object& o) { return ++o.words[0]; }); };
    context.report("call_at that waits, remote", each_ns(batches, 20, call) / 1e3, "us");
    context.report("locking a remote guarded value, alone",
                   each_ns(batches, 500, [&](std::size_t) { dsm::borrow_mut(object)->words[0] += 1; }), "ns", remote,
                   "a remote fetch_add");
  }
  meet();
}

// All nodes change one value: how many changes there are in a millisecond, all nodes together.
void contended(ObjectContext& context) {
  const double at_least_ms = context.quick ? 60 : 200;
  auto* const word = reinterpret_cast<dsm::atomic<std::uint64_t>*>(shared_block("word", kPage, 0));
  auto* const raw = reinterpret_cast<std::atomic<std::uint64_t>*>(shared_block("raw", kPage, 0));
  auto* const called = reinterpret_cast<std::uint64_t*>(shared_block("called", kPage, 0));
  auto* const value = reinterpret_cast<dsm::guarded<Object>*>(shared_block("guarded", kPage, 0));
  struct Locked {
    dsm::mutex mutex;
    alignas(4096) Object value{};
  };
  if (dsm::node() == 0) dsm::publish("locked", ::new (dsm::alloc(sizeof(Locked), kPage)) Locked);
  auto* const locked = static_cast<Locked*>(dsm::lookup("locked"));
  const auto rate = [&](const char* name, auto act, auto end) {
    meet();
    const auto begin = Clock::now();
    std::size_t done = 0;
    while (ns_since(begin) < at_least_ms * 1e6) {
      for (int i = 0; i < 16; ++i) act();
      done += 16;
    }
    end();
    return sum_of_all(name, static_cast<double>(done) / (ns_since(begin) / 1e6));
  };
  const auto nothing = [] {};
  const double page = rate(
      "raw rate", [&] { raw->fetch_add(1); }, nothing);
  const double atomic = rate(
      "atomic rate", [&] { word->fetch_add(1); }, nothing);
  const double calls = rate(
      "call rate", [&] { dsm::call_at_async(called, [](std::uint64_t& w) { ++w; }); }, [] { dsm::flush(); });
  const double guarded = rate(
      "guarded rate", [&] { value->lock()->words[0] += 1; }, nothing);
  const auto lock_page = [&] {
    const std::lock_guard guard(locked->mutex);
    volatile std::uint64_t& one = locked->value.words[0];
    one = one + 1;
  };
  const double mutex = rate("mutex rate", lock_page, nothing);
  if (dsm::node() != 0) return;
  const std::string nodes = fmt::format("one value, {} nodes: ", dsm::nodes());
  context.report(nodes + "dsm::atomic", atomic, "1/ms", page, "std::atomic in page mode");
  context.report(nodes + "posted calls", calls, "1/ms", page, "std::atomic in page mode");
  context.report(nodes + "guarded value", guarded, "1/ms", mutex, "dsm::mutex and the value in page mode");
}

// The lock goes from node to node, each time with the value: each waits for its turn's number.
void hand_over(ObjectContext& context) {
  const std::uint64_t turns = context.quick ? 200 : 1000;
  struct Locked {
    dsm::mutex mutex;
    alignas(4096) std::uint64_t turn = 0;
  };
  auto* const value = reinterpret_cast<dsm::guarded<Object>*>(shared_block("guarded", kPage, 0));
  if (dsm::node() == 0) dsm::publish("locked", ::new (dsm::alloc(sizeof(Locked), kPage)) Locked);
  auto* const locked = static_cast<Locked*>(dsm::lookup("locked"));
  const auto mine = [](std::uint64_t turn) { return turn % dsm::nodes() == dsm::node(); };
  const auto timed = [&](auto step) {
    meet();
    const auto begin = Clock::now();
    while (step() < turns) {
    }
    return ns_since(begin) / 1e3 / static_cast<double>(turns);
  };
  std::vector<double> ours, theirs;
  for (int round = 0; round < (context.quick ? 3 : 7); ++round) {
    ours.push_back(timed([&] {
      auto held = value->lock();
      const std::uint64_t turn = held->words[0];
      if (turn < turns && mine(turn)) {
        held->words[0] = turn + 1;
      } else {
        held.release_unchanged();
      }
      return turn;
    }));
    theirs.push_back(timed([&] {
      const std::lock_guard guard(locked->mutex);
      volatile std::uint64_t& at = locked->turn;
      const std::uint64_t turn = at;
      if (turn < turns && mine(turn)) at = turn + 1;
      return turn;
    }));
    meet();
    if (dsm::node() == 0) {
      value->lock()->words[0] = 0;
      locked->turn = 0;
    }
  }
  meet();
  if (dsm::node() != 0) return;
  context.report("hand-over of a guarded value, 2 nodes", median(ours), "us", median(theirs),
                 "dsm::mutex and the value in page mode");
}

}  // namespace dsm::bench
