// The pure parts of base: the map of the global range, error texts, histograms, clocks.
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "base/clock.h"
#include "base/geometry.h"
#include "base/meta_layout.h"
#include "base/result.h"
#include "base/stats.h"

namespace {

dsm::Geometry three_nodes() { return {dsm::kDefaultBase, 4 * dsm::kChunkBytes, 2 * dsm::kChunkBytes, 3}; }

TEST(GeometryTest, AddressesAndPagesAgree) {
  const dsm::Geometry geometry = three_nodes();
  EXPECT_EQ(geometry.memory_bytes(), 14 * dsm::kChunkBytes);
  EXPECT_TRUE(geometry.holds(geometry.base));
  EXPECT_FALSE(geometry.holds(geometry.base - 1));
  EXPECT_TRUE(geometry.holds(geometry.base + geometry.memory_bytes() - 1));
  EXPECT_FALSE(geometry.holds(geometry.base + geometry.memory_bytes()));
  for (dsm::PageId page : {dsm::PageId{0}, dsm::PageId{511}, geometry.memory_pages() - 1}) {
    EXPECT_EQ(geometry.page_of(geometry.address_of(page)), page);
    EXPECT_EQ(geometry.page_of(geometry.address_of(page) + dsm::kPageBytes - 1), page);
  }
}

TEST(GeometryTest, SlicesBelongToTheirNodes) {
  const dsm::Geometry geometry = three_nodes();
  for (dsm::NodeId node = 0; node < 3; ++node) {
    EXPECT_EQ(geometry.home(geometry.slice_first(node)), node);
    EXPECT_EQ(geometry.home(geometry.slice_first(node) + geometry.slice_pages() - 1), node);
  }
}

TEST(GeometryTest, InterleavedGranulesGoRound) {
  const dsm::Geometry geometry = three_nodes();
  const dsm::PageId first = geometry.interleaved_first();
  EXPECT_FALSE(geometry.interleaved(first - 1));
  EXPECT_TRUE(geometry.interleaved(first));
  EXPECT_TRUE(geometry.interleaved(geometry.memory_pages() - 1));
  EXPECT_FALSE(geometry.interleaved(geometry.memory_pages()));
  for (std::uint64_t granule = 0; granule < 7; ++granule) {
    EXPECT_EQ(geometry.home(first + granule * dsm::kGranulePages), granule % 3);
    EXPECT_EQ(geometry.home(first + (granule + 1) * dsm::kGranulePages - 1), granule % 3);
  }
}

TEST(GeometryTest, LatchOnlyPagesHaveAHomeAndNoBytes) {
  const dsm::Geometry geometry = three_nodes();
  for (dsm::NodeId node = 0; node < 3; ++node) {
    const dsm::PageId first = geometry.latches_first(node);
    EXPECT_FALSE(geometry.has_bytes(first));
    EXPECT_EQ(geometry.home(first), node);
    EXPECT_EQ(geometry.home(first + dsm::kLatchesPerNode - 1), node);
  }
  EXPECT_TRUE(geometry.has_bytes(geometry.latches_first(0) - 1));
  EXPECT_EQ(dsm::latch_offset(geometry.latches_first(2) + dsm::kLatchesPerNode - 1) + dsm::kLatchBytes,
            dsm::header_offset(geometry, geometry.base));
}

TEST(GeometryTest, HeadersStandBehindTheLatches) {
  const dsm::Geometry geometry = three_nodes();
  const std::uint64_t last = geometry.base + geometry.memory_bytes() - 1;
  EXPECT_EQ(dsm::header_offset(geometry, geometry.base + 63), dsm::header_offset(geometry, geometry.base));
  EXPECT_EQ(dsm::header_offset(geometry, last) + dsm::kHeaderBytes, dsm::lent_chunks_offset(geometry));
  EXPECT_LT(dsm::lent_chunks_offset(geometry), dsm::meta_region_bytes(geometry));
}

TEST(ResultTest, DescribesErrnoInWords) {
  EXPECT_EQ(dsm::describe({dsm::Errc::kNoMemory, ENOMEM, "cannot map the global range"}),
            "cannot map the global range: Cannot allocate memory (ENOMEM)");
  EXPECT_EQ(dsm::describe({dsm::Errc::kPeerDown, 0, "node 2 is gone"}), "node 2 is gone");
  EXPECT_EQ(dsm::describe({dsm::Errc::kTimeout, 0, ""}), "timed out");
  EXPECT_EQ(dsm::describe({dsm::Errc::kSystem, 99999, "ioctl"}), "ioctl: error 99999");
}

TEST(HistogramTest, BucketsArePowersOfTwo) {
  const auto histogram = std::make_unique<dsm::Histogram>();
  for (const std::int64_t ns : {0, 1, 2, 3, 4, 1023, 1024}) histogram->add(ns);
  histogram->add(std::int64_t{1} << 62);
  EXPECT_EQ(histogram->bucket[0], 2U);
  EXPECT_EQ(histogram->bucket[1], 2U);
  EXPECT_EQ(histogram->bucket[2], 1U);
  EXPECT_EQ(histogram->bucket[9], 1U);
  EXPECT_EQ(histogram->bucket[10], 1U);
  EXPECT_EQ(histogram->bucket[dsm::kHistogramBuckets - 1], 1U);
  EXPECT_EQ(histogram->max_ns, std::uint64_t{1} << 62);
}

TEST(ClockTest, ThreadsCpuTimeGrowsWithItsWork) {
  const std::int64_t before = dsm::thread_cpu_ns(dsm::current_tid());
  ASSERT_GE(before, 0);
  const std::int64_t start = dsm::now_ns();
  std::int64_t after = 0;
  do {
    after = dsm::thread_cpu_ns(dsm::current_tid());
  } while (after == before);
  EXPECT_GT(dsm::now_ns(), start);
  EXPECT_GT(after, before);
}

TEST(ClockTest, CpuTimeOfAThreadThatIsGoneIsMinusOne) {
  pid_t tid = 0;
  std::thread{[&] { tid = dsm::current_tid(); }}.join();
  ASSERT_NE(tid, dsm::current_tid());
  // join() returns when the thread has left user space; the kernel forgets its id a moment later.
  while (dsm::thread_cpu_ns(tid) >= 0) std::this_thread::yield();
  EXPECT_EQ(dsm::thread_cpu_ns(tid), -1);
}

}  // namespace
