// Single faults beside the bare mechanism, in turns: the median of many, each timed by itself.
#include <dsm/dsm.h>
#include <fmt/core.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "bench/micro/bare.h"
#include "bench/micro/page_parts.h"

namespace dsm::bench {
namespace {

constexpr std::size_t kPages = 512;

// Ours and the bare one in turns over the same number of pages; what node 0 holds is given up before each turn.
struct Comparison {
  double ours, bare;
};
Comparison in_turns(std::byte* block, Bare& bare, Bare::What what, Touch touch, int rounds) {
  const auto order = shuffled(kPages, 1);
  std::vector<double> ours, theirs;
  for (int round = 0; round < rounds; ++round) {
    dsm::release(block, kPages * kPage);
    touch_each(block, order, touch, ours);
    bare.zap();
    bare.arm(what);
    touch_each(bare.view(), order, touch, theirs);
    bare.disarm();
  }
  return {median(ours), median(theirs)};
}

// Node 1 computes without a library call until told to stop.
void compute_until(const std::atomic<std::uint64_t>* stop) {
  volatile std::uint64_t work = 1;
  while (stop->load(std::memory_order_relaxed) == 0) {
    for (int i = 0; i < 100'000; ++i) work = work * 6364136223846793005ULL + 1;
  }
}

}  // namespace

void faults(Context& context) {
  const int rounds = context.quick ? 6 : 40;
  std::byte* const here = shared_block("here", kPages * kPage, 0);
  std::byte* const there = shared_block("there", kPages * kPage, 1);
  auto* const stop = reinterpret_cast<std::atomic<std::uint64_t>*>(shared_block("stop", kPage, 0));
  if (dsm::node() == 1) {
    std::vector<double> unused;
    touch_each(here, shuffled(kPages, 1), Touch::kRead, unused);  // turns node 0's chunk shared
    touch_each(there, shuffled(kPages, 1), Touch::kWrite, unused);
    dsm::release(here, kPages * kPage);
    dsm::release(there, kPages * kPage);
    meet();
    meet();  // the home is idle: node 1 sleeps here
    compute_until(stop);
    return;
  }
  meet();
  Bare bare(kPages * kPage);
  const auto local = in_turns(here, bare, Bare::What::kMapWrite, Touch::kWrite, rounds);
  context.report("local fault, page homed here", local.ours, "us", local.bare, "bare SIGBUS + CONTINUE",
                 Goal::kRatioAtMost, 1.3);
  const auto read = in_turns(there, bare, Bare::What::kCopyMapRead, Touch::kRead, rounds);
  context.report("remote read miss, home's CPU idle", read.ours, "us", read.bare, "bare fault + 4 KiB memcpy",
                 Goal::kRatioAtMost, 1.5);
  const auto write = in_turns(there, bare, Bare::What::kCopyMapWrite, Touch::kWrite, rounds);
  context.report("remote write miss, home's CPU idle", write.ours, "us", write.bare, "bare fault + 4 KiB memcpy");
  meet();
  const auto busy = in_turns(there, bare, Bare::What::kCopyMapRead, Touch::kRead, rounds);
  context.report("remote read miss, home's CPU busy", busy.ours, "us", busy.bare, "bare fault + 4 KiB memcpy",
                 Goal::kRatioAtMost, 1.5);
  stop->store(1);
}

// Node 0 raises pages that it and all other nodes read.
void upgrades(Context& context) {
  const int rounds = context.quick ? 3 : 10;
  constexpr std::size_t kUpgraded = 128;
  std::byte* const block = shared_block("upgraded", kUpgraded * kPage, 0);
  const auto order = shuffled(kUpgraded, 2);
  std::vector<double> ours, theirs, unused;
  for (int round = 0; round < rounds; ++round) {
    touch_each(block, order, Touch::kRead, unused);
    meet();
    if (dsm::node() == 0) touch_each(block, order, Touch::kWrite, ours);
    meet();
  }
  if (dsm::node() != 0) return;
  Bare bare(kUpgraded * kPage);
  for (int round = 0; round < rounds; ++round) {
    bare.zap();
    bare.install_for_reading(0, kUpgraded * kPage, false);
    bare.arm(Bare::What::kUnprotect);
    touch_each(bare.view(), order, Touch::kWrite, theirs);
    bare.disarm();
  }
  context.report(fmt::format("upgrade with {} other sharers", dsm::nodes() - 1), median(ours), "us", median(theirs),
                 "bare SIGBUS + un-protect, no sharer");
}

// Misses on pages that nobody holds, and what CPU time they cost the home's process (its own clock, read by node 0).
void home_cpu(Context& context) {
  const int rounds = context.quick ? 10 : 60;
  std::byte* const block = shared_block("block", kPages * kPage, 1);
  auto* const pid = reinterpret_cast<std::atomic<std::uint64_t>*>(shared_block("pid", kPage, 0));
  std::vector<double> unused;
  if (dsm::node() == 1) {
    touch_each(block, shuffled(kPages, 1), Touch::kWrite, unused);
    pid->store(static_cast<std::uint64_t>(::getpid()));
    dsm::release(pid, kPage);
    dsm::release(block, kPages * kPage);
    meet();
    return;  // and sleeps in the meeting that ends the part
  }
  meet();
  clockid_t clock{};
  if (::clock_getcpuclockid(static_cast<pid_t>(pid->load()), &clock) != 0) return;
  const auto cpu_us = [&] {
    timespec now{};
    ::clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
  };
  touch_each(block, shuffled(kPages, 3), Touch::kRead, unused);  // its home's first and last work: sharing the chunk
  dsm::release(block, kPages * kPage);
  ::usleep(100'000);  // node 1 goes to sleep; were it late, the figure would be too large, not too small
  for (const Touch touch : {Touch::kRead, Touch::kWrite}) {
    const double cpu_before = cpu_us();
    const auto begin = Clock::now();
    for (int round = 0; round < rounds; ++round) {
      touch_each(block, shuffled(kPages, 3), touch, unused);
      dsm::release(block, kPages * kPage);
    }
    const double took = us_since(begin), misses = static_cast<double>(rounds) * kPages;
    context.report(fmt::format("home's CPU per 1000 {} misses", touch == Touch::kRead ? "read" : "write"),
                   (cpu_us() - cpu_before) / misses * 1000, "us", took / misses * 1000, "what they took node 0",
                   Goal::kRatioAtMost, 0.001);
  }
}

}  // namespace dsm::bench
