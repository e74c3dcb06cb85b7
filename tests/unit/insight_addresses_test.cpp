// Sampled addresses: the records of a ring, and a ring of this very process.
#include <gtest/gtest.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "base/clock.h"
#include "base/sparse.h"
#include "insight/address_samples.h"

namespace dsm::insight {
namespace {

class Ring {
 public:
  // A record with these words behind its head; `size`: what the head says.
  void add(std::uint32_t type, const std::vector<std::uint64_t>& words, std::size_t size = 0) {
    const std::size_t bytes = sizeof(perf_event_header) + words.size() * 8;
    const perf_event_header header{type, 0, static_cast<std::uint16_t>(size != 0 ? size : bytes)};
    const std::size_t at = bytes_.size();
    bytes_.resize(at + bytes);
    std::memcpy(bytes_.data() + at, &header, sizeof header);
    std::memcpy(bytes_.data() + at + sizeof header, words.data(), words.size() * 8);
  }
  std::vector<std::byte> bytes_;
};

constexpr std::uint64_t kPidAndTid = (std::uint64_t{77} << 32) | 5;

TEST(TakeRecord, TellsSamplesAndLosses) {
  Ring ring;
  ring.add(PERF_RECORD_SAMPLE, {0x401000, kPidAndTid, 123, 0x200000001040});
  ring.add(PERF_RECORD_THROTTLE, {1, 2, 3});
  ring.add(PERF_RECORD_LOST, {9, 17});
  ring.add(PERF_RECORD_SAMPLE, {0x401008, kPidAndTid, 124, 0x200000002040, 300});
  std::span<const std::byte> left = ring.bytes_;
  const RingRecord first = take_record(left);
  ASSERT_EQ(first.kind, RingRecord::Kind::kSample);
  EXPECT_EQ(first.sample.code, 0x401000U);
  EXPECT_EQ(first.sample.tid, 77U);
  EXPECT_EQ(first.sample.at_ns, 123);
  EXPECT_EQ(first.sample.address, 0x200000001040U);
  EXPECT_EQ(first.sample.latency, 0U);
  EXPECT_EQ(take_record(left).kind, RingRecord::Kind::kOther);
  EXPECT_EQ(take_record(left).lost, 17U);
  EXPECT_EQ(take_record(left).sample.latency, 300U);
  EXPECT_TRUE(left.empty());
}

TEST(TakeRecord, WhatMakesNoSenseEndsIt) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{7}, std::size_t{100}}) {
    Ring ring;
    ring.add(PERF_RECORD_SAMPLE, {1, 2, 3, 4}, size);
    std::span<const std::byte> left = ring.bytes_;
    EXPECT_EQ(take_record(left).kind, RingRecord::Kind::kOther);
    EXPECT_TRUE(left.empty());
  }
  Ring ring;
  ring.add(PERF_RECORD_SAMPLE, {1, 2, 3});
  std::span<const std::byte> left = ring.bytes_;
  EXPECT_EQ(take_record(left).kind, RingRecord::Kind::kOther) << "too short to have an address";
  left = std::span(ring.bytes_).first(5);
  EXPECT_EQ(take_record(left).kind, RingRecord::Kind::kOther);
  EXPECT_TRUE(left.empty());
}

// Touches fresh pages until one of them has been seen.
TEST(AddressSampler, SeesThisProcessTouchMemory) {
  auto* const part = map_sparse<NodePart>(1);
  ASSERT_NE(part, nullptr);
  constexpr std::size_t kBytes = std::size_t{1} << 30;
  auto* const memory = static_cast<char*>(
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  const auto begin = reinterpret_cast<std::uint64_t>(memory);
  AddressSampler sampler(*part, {begin, kBytes});
  sampler.start();
  if (part->address_errno.load() != 0) {
    GTEST_SKIP() << "the kernel refuses: " << ::strerror(static_cast<int>(part->address_errno.load()));
  }
  ASSERT_NE(part->address_event[0], '\0');
  constexpr std::size_t kStep = 16 * kPageBytes;
  const std::int64_t end = now_ns() + 20'000'000'000;
  while (part->addresses.load() == 0 && now_ns() < end) {
    for (std::size_t at = 0; at < kBytes / 64; at += kStep) memory[at] = 1;
    ::madvise(memory, kBytes / 64, MADV_DONTNEED);
    ::usleep(1000);
  }
  sampler.stop();
  ASSERT_GE(part->addresses.load(), 1U) << part->address_event;
  const AddressSample& sample = part->address[0];
  EXPECT_EQ(sample.tid, static_cast<std::uint32_t>(::gettid()));
  EXPECT_LT(sample.address - begin, kBytes / 64);
  EXPECT_NE(sample.code, 0U);
  EXPECT_LE(sample.at_ns, now_ns());
}

}  // namespace
}  // namespace dsm::insight
