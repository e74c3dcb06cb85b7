// Borrows at the home and from the cache beside plain memory; the first read of an object beside that of a page.
#include <dsm/hints.h>
#include <fmt/core.h>

#include <atomic>

#include "bench/micro/object_parts.h"
#include "hints/borrow.h"

namespace dsm::bench {
namespace {

const NodeStats& stats() { return *hints::engine().node.stats; }
std::uint64_t operations() { return stats().op_read + stats().op_write + stats().op_atomic; }

// Of a borrowed object and of plain memory: one function, or where its two copies happen to lie is what is measured.
[[gnu::noinline]] std::uint64_t sum_of(const std::uint64_t* words, std::size_t count) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    sum += words[i];
    asm volatile("" : "+r"(sum));  // one load after the other, as a program that uses each value
  }
  return sum;
}

}  // namespace

void local_borrows(ObjectContext& context) {
  meet();
  if (dsm::node() != 0) return;
  const int batches = context.quick ? 11 : 101;
  constexpr std::size_t kTimes = 20'000, kWords = 1024;
  auto owner = dsm::make_owned<Object>();
  volatile std::uint64_t sink = 0;
  const double shared = each_ns(batches, kTimes, [&](std::size_t) {
    auto r = dsm::borrow_shared(owner);
    sink = r->words[0];
  });
  context.report("take and drop a shared borrow at the home", shared, "ns", {}, "", Goal::kValueAtMost, 10);
  const double changed = each_ns(batches, kTimes, [&](std::size_t i) { dsm::borrow_mut(owner)->words[0] = i; });
  context.report("take and drop a mutable borrow at the home", changed, "ns");

  auto array = dsm::make_owned<std::uint64_t[]>(kWords);
  std::vector<std::uint64_t> plain(kWords);
  std::vector<double> ours, raw;
  for (int batch = 0; batch < batches; ++batch) {
    auto r = dsm::borrow_shared(array);
    ours.push_back(each_ns(3, 100, [&](std::size_t) { sink = sum_of(r.get(), kWords); }) / kWords);
    raw.push_back(each_ns(3, 100, [&](std::size_t) { sink = sum_of(plain.data(), kWords); }) / kWords);
  }
  context.report("one load inside a borrow", median(ours), "ns", median(raw), "the same code on plain memory",
                 Goal::kRatioAtMost, 1.05);
}

void remote_reads(ObjectContext& context) {
  const std::size_t count = context.quick ? 4096 : 16'384;
  const int batches = context.quick ? 11 : 51;
  auto* const bits = reinterpret_cast<std::uint64_t*>(shared_block("bits", count * 8, 1));
  std::byte* const pages = shared_block("pages", count / 8 * kPage, 1);
  std::vector<dsm::own_ptr<Object>> owners;
  if (dsm::node() == 1) {
    for (std::size_t i = 0; i < count; ++i) {
      owners.push_back(dsm::make_owned<Object>());
      bits[i] = owners.back().bits();
      pages[i / 8 * kPage] = std::byte{1};
    }
    meet();
    meet();
    return;
  }
  meet();
  for (std::size_t i = 0; i < count; ++i) owners.push_back(dsm::own_ptr<Object>::adopt(bits[i]));
  volatile std::uint64_t sink = 0;
  const auto read = [&](std::size_t i) { sink = dsm::borrow_shared(owners[i])->words[0]; };
  for (std::size_t i = 0; i < count; i += 64) read(i);  // brings each page into object mode
  std::vector<double> first, page;
  for (std::size_t i = 1; i < count; ++i) {
    if (i % 64 == 0) continue;
    const auto begin = Clock::now();
    read(i);
    first.push_back(ns_since(begin));
    if (i % 8 != 1) continue;
    volatile auto* const byte = reinterpret_cast<volatile unsigned char*>(pages + (i * 7919 / 8 % (count / 8)) * kPage);
    dsm::release(const_cast<const unsigned char*>(byte), 1);
    const auto touched = Clock::now();
    sink = static_cast<std::uint64_t>(*byte);
    page.push_back(ns_since(touched));
  }
  context.report("first read of a remote object of 64 bytes", median(first), "ns", {}, "", Goal::kValueAtMost, 400);
  context.report("page-mode miss over that first read", median(page) / 1e3, "us", median(first) / 1e3,
                 "first read of a remote object", context.emulated ? Goal::kNone : Goal::kRatioAtLeast, 10);

  constexpr std::size_t kHot = 64, kTimes = 20'000;
  for (std::size_t i = 0; i < kHot; ++i) read(i);
  std::uint64_t before = operations();
  const double repeated = each_ns(batches, kTimes, [&](std::size_t i) { read(i % kHot); });
  context.report("repeated shared borrow of a remote owned object", repeated, "ns", {}, "", Goal::kValueAtMost, 25);
  context.report("  its operations", static_cast<double>(operations() - before), "", {}, "", Goal::kValueAtMost, 0);

  std::vector<const Object*> raw;
  for (std::size_t i = 0; i < kHot; ++i) raw.push_back(owners[i].address());
  before = operations();
  const double checked =
      each_ns(batches, kTimes / 20, [&](std::size_t i) { sink = dsm::borrow_shared(raw[i % kHot])->words[0]; });
  const double per = static_cast<double>(operations() - before) / (batches * (kTimes / 20.0));
  context.report("repeated shared borrow by address (one read)", checked, "ns");
  context.report("  its operations for each borrow", per, "", {}, "", Goal::kValueAtMost, 1);
  for (auto& owner : owners) owner.leak();
  meet();
}

}  // namespace dsm::bench
