// Writes to what others have copies of, and to what merely lies beside what others write; each beside page mode.
#include <dsm/hints.h>
#include <fmt/core.h>
#include <unistd.h>

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

// Every node writes its own objects, which lie beside the others' in the same page: now and then, since one that writes
// all the time keeps the page for many writes and shares out the cost of getting it.
void false_sharing(ObjectContext& context) {
  const unsigned nodes = dsm::nodes();
  const int rounds = (context.quick ? 3000 : 12'000) / static_cast<int>(nodes);  // of each object as many, always
  constexpr std::size_t kObjects = kPage / sizeof(Object);
  auto* const hinted = reinterpret_cast<Object*>(shared_block("hinted", kPage, 0));
  auto* const plain = reinterpret_cast<Object*>(shared_block("plain", kPage, 0));
  const auto mean_us = [&](auto write) {
    meet();
    double sum = 0;
    for (int i = 0; i < rounds; ++i) {
      ::usleep(50);
      const auto begin = Clock::now();
      write((dsm::node() + static_cast<std::size_t>(i) * nodes) % kObjects);
      sum += ns_since(begin) / 1e3;
    }
    meet();
    return sum / rounds;
  };
  const double ours = mean_us([&](std::size_t i) { dsm::borrow_mut(&hinted[i])->words[0] += 1; });
  const double theirs = mean_us([&](std::size_t i) {
    volatile std::uint64_t& word = plain[i].words[0];
    word = word + 1;
  });
  auto* const means = reinterpret_cast<double*>(shared_block("means", kPage, 0));
  means[2 * dsm::node()] = ours;
  means[2 * dsm::node() + 1] = theirs;
  meet();
  if (dsm::node() != 0) return;
  double all_ours = 0, all_theirs = 0;
  for (unsigned n = 0; n < nodes; ++n) {
    all_ours += means[2 * n] / nodes;
    all_theirs += means[2 * n + 1] / nodes;
  }
  context.report(fmt::format("false sharing, {} nodes: page-mode write, mean", nodes), all_theirs, "us", all_ours,
                 "mutable borrow, mean", Goal::kRatioAtLeast, 50);
}

}  // namespace dsm::bench
