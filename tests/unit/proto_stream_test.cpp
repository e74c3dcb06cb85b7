#include <gtest/gtest.h>

#include "proto/stream.h"

namespace dsm::proto {
namespace {

constexpr std::uint32_t kMost = 64;

TEST(Streams, RandomMissesFetchNothingAhead) {
  Streams streams;
  for (const PageId page : {7u, 1000u, 3u, 500u, 90u, 12345u, 2u, 800u, 44u, 6000u}) {
    EXPECT_EQ(streams.advise(page, kMost), 0u) << page;
  }
}

TEST(Streams, WindowsOfASequenceDoubleUpToTheMost) {
  Streams streams;
  PageId page = 100;
  EXPECT_EQ(streams.advise(page, kMost), 0u);
  page += 1;
  for (const std::uint32_t window : {4u, 8u, 16u, 32u, 64u, 64u, 64u}) {
    EXPECT_EQ(streams.advise(page, kMost), window) << page;
    page += 1 + window;  // the next miss is the page behind the window
  }
}

TEST(Streams, MostNeedNotBeAPowerOfTwo) {
  Streams streams;
  PageId page = 0;
  for (const std::uint32_t window : {0u, 4u, 8u, 10u, 10u}) {
    EXPECT_EQ(streams.advise(page, 10), window);
    page += 1 + window;
  }
}

TEST(Streams, MostOfZeroTurnsItOff) {
  Streams streams;
  for (PageId page = 0; page < 50; ++page) EXPECT_EQ(streams.advise(page, 0), 0u);
}

TEST(Streams, LowerMostHoldsAtOnce) {
  Streams streams;
  streams.advise(0, kMost);
  streams.advise(1, kMost);
  EXPECT_EQ(streams.advise(6, 3), 3u);
  EXPECT_EQ(streams.advise(10, kMost), 6u);
}

TEST(Streams, MissInsideOrBeyondTheWindowStartsAnew) {
  Streams streams;
  streams.advise(100, kMost);
  ASSERT_EQ(streams.advise(101, kMost), 4u);  // expects 106
  EXPECT_EQ(streams.advise(104, kMost), 0u);
  EXPECT_EQ(streams.advise(108, kMost), 0u);
  EXPECT_EQ(streams.advise(109, kMost), 4u);
  EXPECT_EQ(streams.advise(106, kMost), 8u) << "the old stream is still known";
}

TEST(Streams, DescendingMissesFetchNothing) {
  Streams streams;
  for (PageId page = 200; page > 150; --page) EXPECT_EQ(streams.advise(page, kMost), 0u);
}

TEST(Streams, EightStreamsInTurnDoNotDisturbEachOther) {
  Streams streams;
  PageId pages[8];
  for (unsigned i = 0; i < 8; ++i) pages[i] = i * 100000;
  for (const std::uint32_t window : {0u, 4u, 8u, 16u, 32u, 64u}) {
    for (PageId& page : pages) {
      EXPECT_EQ(streams.advise(page, kMost), window) << page;
      page += 1 + window;
    }
  }
}

TEST(Streams, NinthStreamTakesThePlaceOfTheLeastRecentlyUsed) {
  Streams streams;
  for (PageId i = 0; i < 8; ++i) streams.advise(i * 1000, kMost);
  ASSERT_EQ(streams.advise(1, kMost), 4u);  // stream 0 is the most recent now, stream 1 the least
  streams.advise(9000, kMost);
  EXPECT_EQ(streams.advise(1001, kMost), 0u) << "forgotten";
  EXPECT_EQ(streams.advise(6, kMost), 8u) << "kept";
  EXPECT_EQ(streams.advise(9001, kMost), 4u);
}

// A page that other nodes keep taking away is missed again and again; it must not push the streams out.
TEST(Streams, ContendedPageLeavesStreamsAlone) {
  Streams streams;
  streams.advise(100, kMost);
  ASSERT_EQ(streams.advise(101, kMost), 4u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(streams.advise(5000, kMost), 0u);
  EXPECT_EQ(streams.advise(106, kMost), 8u);
  EXPECT_EQ(streams.advise(5001, kMost), 4u) << "and it can still be the start of a stream";
}

}  // namespace
}  // namespace dsm::proto
