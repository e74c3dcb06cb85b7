// Many pages: a sequential read, sparse bytes, and a home that computes meanwhile.
#include <dsm/dsm.h>
#include <fmt/core.h>

#include <atomic>
#include <cstring>
#include <optional>

#include "bench/micro/bare.h"
#include "bench/micro/page_parts.h"

namespace dsm::bench {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// Reads a word of every cache line.
std::uint64_t consume(const std::byte* block, std::size_t bytes) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < bytes; at += 64) {
    std::uint64_t word;
    std::memcpy(&word, block + at, sizeof word);
    sum += word;
  }
  return sum;
}

double mib_per_s(std::size_t bytes, double us) {
  return static_cast<double>(bytes) / static_cast<double>(kMiB) / us * 1e6;
}

}  // namespace

void bulk(Context& context) {
  const std::size_t bytes = (context.quick ? 64 : 256) * kMiB;
  std::byte* const block = shared_block("bulk", bytes, 1);
  if (dsm::node() == 1) {
    std::memset(block, 1, bytes);
    dsm::release(block, bytes);
  }
  meet();
  if (dsm::node() != 0) return;
  Bare bare(bytes);
  std::vector<double> ours, theirs;
  volatile std::uint64_t sink = 0;
  for (int round = 0; round < (context.quick ? 3 : 5); ++round) {
    dsm::release(block, bytes);
    auto begin = Clock::now();
    sink = sink + consume(block, bytes);
    if (round > 0)
      ours.push_back(mib_per_s(bytes, us_since(begin)));  // the first brings the cache's memory in
    else
      context.report(fmt::format("sequential read of {} MiB, first time", bytes / kMiB),
                     mib_per_s(bytes, us_since(begin)), "MiB/s");
    bare.zap();
    begin = Clock::now();
    constexpr std::size_t kBatch = 2 * kMiB;
    for (std::size_t at = 0; at < bytes; at += kBatch) {
      bare.install_for_reading(at, kBatch, true);
      sink = sink + consume(bare.view() + at, kBatch);
    }
    theirs.push_back(mib_per_s(bytes, us_since(begin)));
  }
  context.report(fmt::format("sequential read of {} MiB", bytes / kMiB), median(ours), "MiB/s", median(theirs),
                 "memcpy + CONTINUE, 2 MiB batches", Goal::kRatioAtLeast, 0.6);
}

// One byte in every 8 of memory homed elsewhere, given back, and read by its home.
void sparse_bytes(Context& context) {
  const std::size_t bytes = (context.quick ? 16 : 64) * kMiB;
  std::byte* const block = shared_block("sparse", bytes, 1);
  if (dsm::node() == 1) {
    std::memset(block, 0, bytes);
    dsm::release(block, bytes);
  }
  meet();
  if (dsm::node() == 0) {
    const auto begin = Clock::now();
    for (std::size_t at = 0; at < bytes; at += 8) block[at] = std::byte{7};
    dsm::release(block, bytes);
    const double ours = mib_per_s(bytes, us_since(begin));
    std::vector<std::byte> plain(bytes), copy(bytes);
    const auto plain_begin = Clock::now();
    for (std::size_t at = 0; at < bytes; at += 8) plain[at] = std::byte{7};
    std::memcpy(copy.data(), plain.data(), bytes);
    context.report(fmt::format("one byte in 8 of {} MiB written and given back", bytes / kMiB), ours, "MiB/s",
                   mib_per_s(bytes, us_since(plain_begin)), "the same in plain memory + memcpy");
  }
  meet();
  auto* const result = reinterpret_cast<double*>(shared_block("result", kPage, 0));
  if (dsm::node() == 1) {
    const auto begin = Clock::now();
    std::size_t right = 0;
    for (std::size_t at = 0; at < bytes; at += 8) right += block[at] == std::byte{7};
    result[0] = mib_per_s(bytes, us_since(begin));
    const std::size_t wrong = bytes / 8 - right;
    result[1] = static_cast<double>(wrong);
  }
  meet();
  if (dsm::node() != 0) return;
  context.report("  and read back by its home", result[0], "MiB/s");
  context.report("  bytes read back wrong", result[1], "bytes", {}, {}, Goal::kValueAtMost, 0);
}

// One node writes a block, page after page, and the other reads it; then again. Each page has to be asked for: its
// bytes are where they were written, and who has read it is in the next writer's way.
void in_turns(Context& context) {
  const std::size_t pages = context.quick ? 1024 : 4096;
  std::byte* const block = shared_block("in turns", pages * kPage, 1);
  volatile std::uint64_t sink = 0;
  const auto us_for_a_page = [&](auto work) {
    const auto begin = Clock::now();
    work();
    return us_since(begin) / static_cast<double>(pages);
  };
  const auto read = [&] { sink = sink + consume(block, pages * kPage); };
  const auto write = [&] { std::memset(block, 1, pages * kPage); };
  std::vector<double> reads, writes, bare_times;
  std::optional<Bare> bare;
  if (dsm::node() == 0) bare.emplace(pages * kPage);
  for (int round = 0; round < 6; ++round) {
    const bool warm = round > 1;  // the first ones bring the memory in
    if (dsm::node() == 1) write();
    meet();
    if (dsm::node() == 0) {
      const double reading = us_for_a_page(read), writing = us_for_a_page(write);
      if (warm) reads.push_back(reading);
      if (warm) writes.push_back(writing);
    }
    meet();
    if (dsm::node() == 1) read();
    meet();
    if (dsm::node() == 1) continue;
    constexpr std::size_t kBatch = 64 * kPage;
    bare->zap();
    const double alone = us_for_a_page([&] {
      for (std::size_t at = 0; at < pages * kPage; at += kBatch) bare->install_for_reading(at, kBatch, true);
    });
    if (warm) bare_times.push_back(alone);
  }
  if (dsm::node() == 1) return;
  const char* const peer = "memcpy + CONTINUE, 64 pages each";
  context.report("page after page, reading what another has written", median(reads), "us", median(bare_times), peer);
  context.report("page after page, writing what another has read", median(writes), "us", median(bare_times), peer);
}

// The home computes for 2 s without calling the library while node 0 reads its pages.
void busy_home(Context& context) {
  const double seconds = context.quick ? 0.5 : 2;
  constexpr std::size_t kPages = 512;
  std::byte* const block = shared_block("block", kPages * kPage, 1);
  if (dsm::node() == 1) {
    std::memset(block, 1, kPages * kPage);
    dsm::release(block, kPages * kPage);
    meet();
    meet();
    const auto begin = Clock::now();
    volatile std::uint64_t work = 1;
    while (us_since(begin) < seconds * 1e6) {
      for (int i = 0; i < 100'000; ++i) work = work * 6364136223846793005ULL + 1;
    }
    return;
  }
  meet();
  const auto order = shuffled(kPages, 5);
  const auto misses = [&](double for_us) {
    std::vector<double> times;
    for (const auto begin = Clock::now(); us_since(begin) < for_us;) {
      dsm::release(block, kPages * kPage);
      touch_each(block, order, Touch::kRead, times);
    }
    return times;
  };
  const auto idle = misses(seconds * 1e6 / 2);
  meet();
  const auto busy = misses(seconds * 1e6 * 0.9);
  context.report(fmt::format("read miss while its home computes for {:g} s", seconds), median(busy), "us", median(idle),
                 "while the home sleeps", Goal::kRatioAtMost, 1.2);
}

}  // namespace dsm::bench
