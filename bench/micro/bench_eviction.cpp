// Hit ratios of the eviction policy beside LRU's, FIFO's and the best possible (Belady's), over generated and recorded
// page traces. Ours sees what the runtime sees: misses, and touches of pages that it has laid to rest.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <list>
#include <memory>
#include <queue>
#include <unordered_map>

#include "bench/micro/bench_rows.h"
#include "bench/micro/traces.h"
#include "proto/eviction.h"

namespace dsm::bench {
namespace {

struct Outcome {
  double hits = 0;      // share of the touches
  double refaults = 0;  // of those, touches that took a fault because the page was resting
};

Outcome share(std::uint64_t hits, std::uint64_t refaults, const PageTrace& trace) {
  const auto all = static_cast<double>(trace.touches.size());
  return {static_cast<double>(hits) / all, static_cast<double>(refaults) / all};
}

Outcome run_ours(const PageTrace& trace) {
  const auto slots = proto::Eviction::ring_slots(trace.cache_pages);
  const std::unique_ptr<proto::Frame[]> frames(new proto::Frame[trace.pages]());
  std::vector<PageId> young(slots), main(slots);
  proto::Eviction policy(frames.get(), young.data(), main.data(), trace.cache_pages);
  std::vector<bool> resting(trace.pages), here(trace.pages);
  std::uint64_t hits = 0, refaults = 0;
  for (const std::uint32_t page : trace.touches) {
    if (here[page]) {
      ++hits;
      if (resting[page]) {
        ++refaults;
        resting[page] = false;
        frames[page].back = true;
      }
      continue;
    }
    PageId other = 0;
    if (policy.size() == trace.cache_pages && policy.next_victim(other)) here[other] = false;
    policy.enter(page);
    here[page] = true;
    resting[page] = false;
    while (policy.next_rest(other)) resting[other] = true;
  }
  return share(hits, refaults, trace);
}

Outcome run_queue(const PageTrace& trace, bool least_recent) {
  std::list<std::uint32_t> order;
  std::unordered_map<std::uint32_t, std::list<std::uint32_t>::iterator> here;
  std::uint64_t hits = 0;
  for (const std::uint32_t page : trace.touches) {
    if (const auto found = here.find(page); found != here.end()) {
      ++hits;
      if (least_recent) order.splice(order.begin(), order, found->second);
      continue;
    }
    if (here.size() == trace.cache_pages) {
      here.erase(order.back());
      order.pop_back();
    }
    order.push_front(page);
    here[page] = order.begin();
  }
  return share(hits, 0, trace);
}

// Puts out the page whose next touch is farthest away.
Outcome run_best(const PageTrace& trace) {
  const auto never = static_cast<std::uint32_t>(trace.touches.size());
  std::vector<std::uint32_t> next(trace.touches.size()), coming(trace.pages, never);
  for (std::size_t i = trace.touches.size(); i-- > 0;) {
    next[i] = coming[trace.touches[i]];
    coming[trace.touches[i]] = static_cast<std::uint32_t>(i);
  }
  std::priority_queue<std::pair<std::uint32_t, std::uint32_t>> farthest;  // next touch, page; some are out of date
  std::vector<std::uint32_t> due(trace.pages);
  std::vector<bool> here(trace.pages);
  std::uint64_t hits = 0, held = 0;
  for (std::size_t i = 0; i < trace.touches.size(); ++i) {
    const std::uint32_t page = trace.touches[i];
    due[page] = next[i];
    farthest.emplace(next[i], page);
    if (here[page]) {
      ++hits;
      continue;
    }
    here[page] = true;
    if (++held <= trace.cache_pages) continue;
    while (!here[farthest.top().second] || due[farthest.top().second] != farthest.top().first) farthest.pop();
    here[farthest.top().second] = false;
    farthest.pop();
    --held;
  }
  return share(hits, 0, trace);
}

int run(double scale, bool json) {
  if (!json) {
    fmt::print("hits, percent of the touches (faults of ours that only sample, likewise)\n\n");
    fmt::print("{:<12}{:>10}{:>8}{:>8}{:>8}{:>8}{:>10}   {}\n", "trace", "touches", "ours", "LRU", "FIFO", "best",
               "sampling", "what");
  }
  for (const PageTrace& trace : make_traces(scale)) {
    const Outcome ours = run_ours(trace), lru = run_queue(trace, true), fifo = run_queue(trace, false);
    const Outcome best = run_best(trace);
    if (json) {
      for (const auto& [name, peer] : {std::pair{"LRU", lru}, std::pair{"FIFO", fifo}, std::pair{"best", best}}) {
        Row row;
        row.name = fmt::format("hits, {}, beside {}", trace.name, name);
        row.value = 100 * ours.hits;
        row.unit = "%";
        row.peer = 100 * peer.hits;
        row.peer_name = name;
        if (peer.hits != best.hits) row.goal = Goal::kRatioAtLeast, row.bound = 1;
        fmt::print("{}\n", row.to_json());
      }
    } else {
      fmt::print("{:<12}{:>10}{:>8.1f}{:>8.1f}{:>8.1f}{:>8.1f}{:>10.2f}   {}\n", trace.name, trace.touches.size(),
                 100 * ours.hits, 100 * lru.hits, 100 * fifo.hits, 100 * best.hits, 100 * ours.refaults, trace.what);
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace dsm::bench

int main(int argc, char** argv) {
  CLI::App app("Hit ratios of the eviction policy beside LRU, FIFO and the best possible.", "bench_eviction");
  bool quick = false, json = false;
  app.add_flag("--quick", quick, "a tenth of the touches");
  app.add_flag("--json", json, "one JSON object a line");
  CLI11_PARSE(app, argc, argv);
  return dsm::bench::run(quick ? 0.1 : 1, json);
}
