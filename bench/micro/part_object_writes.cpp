// Writes to what others have copies of, and to what merely lies beside what others write; each beside page mode.
#include <dsm/hints.h>
#include <fmt/format.h>

#include "bench/micro/object_parts.h"
#include "hints/borrow.h"

namespace dsm::bench {
namespace {

constexpr unsigned kHome = 1;

}  // namespace

// Node 0 changes objects of node 1 of which all nodes from 2 on have copies; then pages likewise.
void shared_writes(ObjectContext& context) {
  const int rounds = context.quick ? 3 : 9;
  constexpr std::size_t kObjects = 256, kPages = 64;
  const unsigned holders = dsm::nodes() - 2;
  auto* const objects = reinterpret_cast<Object*>(shared_block("objects", kObjects * sizeof(Object), kHome));
  std::byte* const pages = shared_block("pages", kPages * kPage, kHome);
  const NodeStats& stats = *hints::engine().node.stats;
  const auto use = [](std::uint64_t value) { asm volatile("" : : "r"(value)); };
  std::vector<double> ours, theirs;
  std::uint64_t messages = 0;
  for (int round = 0; round < rounds; ++round) {
    if (dsm::node() >= 2 || round == 0) {
      for (std::size_t i = 0; i < kObjects; ++i) use(dsm::borrow_shared(&objects[i])->words[0]);
      for (std::size_t i = 0; i < kPages; ++i) use(static_cast<std::uint64_t>(pages[i * kPage]));
    }
    meet();
    if (dsm::node() == 0) {
      const std::uint64_t before = stats.message_sent;
      for (std::size_t i = 0; i < kObjects; ++i) {
        const auto begin = Clock::now();
        dsm::borrow_mut(&objects[i])->words[0] += 1;
        if (round != 0) ours.push_back(ns_since(begin) / 1e3);
      }
      if (round != 0) messages += stats.message_sent - before;
      for (std::size_t i = 0; i < kPages; ++i) {
        const auto begin = Clock::now();
        *reinterpret_cast<volatile char*>(pages + i * kPage) = 1;
        if (round != 0) theirs.push_back(ns_since(begin) / 1e3);
      }
    }
    meet();
  }
  if (dsm::node() != 0) return;
  context.report(fmt::format("mutable borrow, {} others have copies", holders), median(ours), "us", median(theirs),
                 "page-mode write, as many sharers");
  context.report("  its messages, all borrows", static_cast<double>(messages), "", {}, "", Goal::kValueAtMost, 0);
}

// Every node writes its own objects, which lie beside the others' in the same pages.
void false_sharing(ObjectContext& context) {
  const unsigned nodes = dsm::nodes();
  constexpr std::size_t kPages = 4, kObjects = kPages * kPage / sizeof(Object);
  auto* const hinted = reinterpret_cast<Object*>(shared_block("hinted", kPages * kPage, 0));
  auto* const plain = reinterpret_cast<Object*>(shared_block("plain", kPages * kPage, 0));
  const auto writes_per_ms = [&](double at_least_ms, auto write) {
    meet();
    const auto begin = Clock::now();
    std::size_t done = 0;
    double took = 0;
    for (std::size_t i = dsm::node(); (took = ns_since(begin) / 1e6) < at_least_ms; i = (i + nodes) % kObjects) {
      write(i);
      ++done;
    }
    const double rate = static_cast<double>(done) / took;
    meet();
    return rate;
  };
  std::vector<double> ours, theirs;
  for (int round = 0; round < (context.quick ? 3 : 7); ++round) {
    ours.push_back(writes_per_ms(50, [&](std::size_t i) { dsm::borrow_mut(&hinted[i])->words[0] += 1; }));
    theirs.push_back(writes_per_ms(100, [&](std::size_t i) {
      volatile std::uint64_t& word = plain[i].words[0];
      word = word + 1;
    }));
  }
  // Each node's own rate, summed.
  auto* const sums = reinterpret_cast<double*>(shared_block("sums", kPage, 0));
  sums[2 * dsm::node()] = median(ours);
  sums[2 * dsm::node() + 1] = median(theirs);
  meet();
  if (dsm::node() != 0) return;
  double all_ours = 0, all_theirs = 0;
  for (unsigned n = 0; n < nodes; ++n) {
    all_ours += sums[2 * n];
    all_theirs += sums[2 * n + 1];
  }
  context.report(fmt::format("false sharing, {} nodes: writes", nodes), all_ours, "1/ms", all_theirs, "page mode",
                 Goal::kRatioAtLeast, 50);
}

}  // namespace dsm::bench
