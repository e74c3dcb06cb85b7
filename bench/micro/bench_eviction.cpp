// Hit ratios of the eviction policy beside LRU's, FIFO's and the best possible (Belady's), over generated and recorded
// page traces. Ours sees what the runtime sees: misses, and touches of pages that it has laid to rest. Every fourth
// touch is a store: beside the hits stands how many pages have to be written home, when they go or ahead of that.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <list>
#include <memory>
#include <queue>
#include <unordered_map>

#include "bench/micro/bench_rows.h"
#include "bench/micro/traces.h"
#include "proto/eviction.h"
#include "support/command_line.h"

namespace dsm::bench {
namespace {

struct Outcome {
  double hits = 0;           // share of the touches
  double refaults = 0;       // of those, touches that took a fault because the page was resting
  double written = 0;        // pages written home as they went, for a page that went
  double with_cleaning = 0;  // all pages written home if some are cleaned before, for a page that went
  double not_clean = 0;      // of those, as they went after all
};

Outcome share(std::uint64_t hits, std::uint64_t refaults, const PageTrace& trace) {
  const auto all = static_cast<double>(trace.touches.size());
  return {static_cast<double>(hits) / all, static_cast<double>(refaults) / all};
}

// Which pages have changed since they were last written home, without cleaning and with it.
class Stores {
 public:
  explicit Stores(std::size_t pages) : changed_(pages), unclean_(pages) {}

  void touched(std::uint32_t page) {
    if (++touches_ % 4 == 0) changed_[page] = unclean_[page] = true;
  }
  void cleaned(PageId page) {
    cleaned_ += unclean_[page];
    unclean_[page] = false;
  }
  void went(PageId page) {
    ++went_;
    written_ += changed_[page];
    not_clean_ += unclean_[page];
    changed_[page] = unclean_[page] = false;
  }
  void tell(Outcome& outcome) const {
    const auto all = static_cast<double>(std::max<std::uint64_t>(went_, 1));
    outcome.written = static_cast<double>(written_) / all;
    outcome.with_cleaning = static_cast<double>(cleaned_ + not_clean_) / all;
    outcome.not_clean = static_cast<double>(not_clean_) / all;
  }

 private:
  std::vector<bool> changed_, unclean_;
  std::uint64_t touches_ = 0, went_ = 0, written_ = 0, cleaned_ = 0, not_clean_ = 0;
};

Outcome run_ours(const PageTrace& trace) {
  const auto slots = proto::Eviction::ring_slots(trace.cache_pages);
  const std::unique_ptr<proto::Frame[]> frames(new proto::Frame[trace.pages]());
  std::vector<PageId> young(slots), main(slots);
  proto::Eviction policy(frames.get(), young.data(), main.data(), trace.cache_pages);
  std::vector<bool> resting(trace.pages), here(trace.pages);
  Stores stores(trace.pages);
  std::uint64_t hits = 0, refaults = 0;
  for (const std::uint32_t page : trace.touches) {
    stores.touched(page);
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
    if (policy.size() == trace.cache_pages && policy.next_victim(other)) {
      here[other] = false;
      stores.went(other);
    }
    policy.enter(page);
    here[page] = true;
    resting[page] = false;
    while (policy.next_rest(other)) resting[other] = true;
    while (policy.next_clean(other)) stores.cleaned(other);
  }
  Outcome outcome = share(hits, refaults, trace);
  stores.tell(outcome);
  return outcome;
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
    fmt::print(
        "hits, percent of the touches (faults of ours that only sample, likewise); pages written home, percent of "
        "those that went: "
        "as they go; with cleaning ahead of that; of these, as they go after all\n\n");
    fmt::print("{:<12}{:>10}{:>8}{:>8}{:>8}{:>8}{:>10}{:>10}{:>10}{:>11}   {}\n", "trace", "touches", "ours", "LRU",
               "FIFO", "best", "sampling", "written", "cleaning", "not clean", "what");
  }
  for (const PageTrace& trace : make_traces(scale)) {
    const Outcome ours = run_ours(trace), lru = run_queue(trace, true), fifo = run_queue(trace, false);
    const Outcome best = run_best(trace);
    if (json) {
      for (const auto& [name, peer] : {std::pair{"LRU", lru}, std::pair{"FIFO", fifo}, std::pair{"best", best}}) {
        Row row{fmt::format("hits, {}, beside {}", trace.name, name), 100 * ours.hits, "%", 100 * peer.hits, name};
        if (peer.hits != best.hits) row.goal = Goal::kRatioAtLeast, row.bound = 1;
        fmt::print("{}\n", row.to_json());
      }
    } else {
      fmt::print("{:<12}{:>10}{:>8.1f}{:>8.1f}{:>8.1f}{:>8.1f}{:>10.2f}{:>10.1f}{:>10.1f}{:>11.1f}   {}\n", trace.name,
                 trace.touches.size(), 100 * ours.hits, 100 * lru.hits, 100 * fifo.hits, 100 * best.hits,
                 100 * ours.refaults, 100 * ours.written, 100 * ours.with_cleaning, 100 * ours.not_clean, trace.what);
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace dsm::bench

int main(int argc, char** argv) {
  dsm::support::CommandLine app("Hit ratios of the eviction policy beside LRU, FIFO and the best possible.",
                                "bench_eviction");
  bool quick = false, json = false;
  app.flag("--quick", quick, "a tenth of the touches");
  app.flag("--json", json, "one JSON object a line");
  if (const auto status = app.parse(argc, argv)) return *status;
  return dsm::bench::run(quick ? 0.1 : 1, json);
}
