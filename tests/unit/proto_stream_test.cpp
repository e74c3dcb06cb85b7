#include <gtest/gtest.h>

#include "proto/stream.h"

namespace dsm::proto {
namespace {

constexpr std::uint32_t kMost = 64;

TEST(Streams, RandomMissesFetchNothingAhead) {
  Streams streams;
  for (const PageId page : {7u, 1000u, 3u, 500u, 90u, 12345u, 2u, 800u, 44u, 6000u}) {
    EXPECT_EQ(streams.advise(page, kMost, false), 0u) << page;
  }
}

TEST(Streams, WindowsOfASequenceDoubleUpToTheMost) {
  Streams streams;
  PageId page = 100;
  EXPECT_EQ(streams.advise(page, kMost, false), 0u);
  page += 1;
  for (const std::uint32_t window : {4u, 8u, 16u, 32u, 64u, 64u, 64u}) {
    EXPECT_EQ(streams.advise(page, kMost, false), window) << page;
    page += 1 + window;  // the next miss is the page behind the window
  }
}

TEST(Streams, MostNeedNotBeAPowerOfTwo) {
  Streams streams;
  PageId page = 0;
  for (const std::uint32_t window : {0u, 4u, 8u, 10u, 10u}) {
    EXPECT_EQ(streams.advise(page, 10, false), window);
    page += 1 + window;
  }
}

TEST(Streams, MostOfZeroTurnsItOff) {
  Streams streams;
  for (PageId page = 0; page < 50; ++page) EXPECT_EQ(streams.advise(page, 0, false), 0u);
}

TEST(Streams, LowerMostHoldsAtOnce) {
  Streams streams;
  streams.advise(0, kMost, false);
  streams.advise(1, kMost, false);
  EXPECT_EQ(streams.advise(6, 3, false), 3u);
  EXPECT_EQ(streams.advise(10, kMost, false), 6u);
}

TEST(Streams, MissInsideOrBeyondTheWindowStartsAnew) {
  Streams streams;
  streams.advise(100, kMost, false);
  ASSERT_EQ(streams.advise(101, kMost, false), 4u);  // expects 106
  EXPECT_EQ(streams.advise(104, kMost, false), 0u);
  EXPECT_EQ(streams.advise(108, kMost, false), 0u);
  EXPECT_EQ(streams.advise(109, kMost, false), 4u);
  EXPECT_EQ(streams.advise(106, kMost, false), 8u) << "the old stream is still known";
}

TEST(Streams, DescendingMissesFetchNothing) {
  Streams streams;
  for (PageId page = 200; page > 150; --page) EXPECT_EQ(streams.advise(page, kMost, false), 0u);
}

TEST(Streams, EightStreamsInTurnDoNotDisturbEachOther) {
  Streams streams;
  PageId pages[8];
  for (unsigned i = 0; i < 8; ++i) pages[i] = i * 100000;
  for (const std::uint32_t window : {0u, 4u, 8u, 16u, 32u, 64u}) {
    for (PageId& page : pages) {
      EXPECT_EQ(streams.advise(page, kMost, false), window) << page;
      page += 1 + window;
    }
  }
}

TEST(Streams, NinthStreamTakesThePlaceOfTheLeastRecentlyUsed) {
  Streams streams;
  for (PageId i = 0; i < 8; ++i) streams.advise(i * 1000, kMost, false);
  ASSERT_EQ(streams.advise(1, kMost, false), 4u);  // stream 0 is the most recent now, stream 1 the least
  streams.advise(9000, kMost, false);
  EXPECT_EQ(streams.advise(1001, kMost, false), 0u) << "forgotten";
  EXPECT_EQ(streams.advise(6, kMost, false), 8u) << "kept";
  EXPECT_EQ(streams.advise(9001, kMost, false), 4u);
}

// Others have to give way: nothing at first, then as much as the stream has had.
TEST(Streams, AskForNoMoreThanTheStreamHasHad) {
  Streams streams;
  PageId page = 100;
  for (const std::uint32_t window : {0u, 0u, 0u, 4u, 9u, 19u, 39u, 64u, 64u}) {
    EXPECT_EQ(streams.advise(page, kMost, true), window) << page;
    page += 1 + window;
  }
  EXPECT_EQ(streams.advise(page, 10, true), 10u) << "the most that is allowed now";
}

// Some pages that nodes fight for, in any order: now and then one follows another.
TEST(Streams, ContendedPagesThatFollowEachOtherByChanceAreNoStream) {
  Streams streams;
  std::uint32_t asked = 0, random = 1;
  for (int i = 0; i < 10'000; ++i) {
    random = random * 1664525 + 1013904223;
    asked += streams.advise(random >> 27, kMost, true);  // one of 32
  }
  EXPECT_LT(asked, 200u);
}

TEST(Streams, AskedAndFreePagesAreOneStream) {
  Streams streams;
  for (PageId page = 0; page < 3; ++page) streams.advise(page, kMost, true);
  EXPECT_EQ(streams.advise(3, kMost, false), 4u);
  EXPECT_EQ(streams.advise(8, kMost, true), 9u);
}

// A page that other nodes keep taking away is missed again and again; it must not push the streams out.
TEST(Streams, ContendedPageLeavesStreamsAlone) {
  Streams streams;
  streams.advise(100, kMost, false);
  ASSERT_EQ(streams.advise(101, kMost, false), 4u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(streams.advise(5000, kMost, false), 0u);
  EXPECT_EQ(streams.advise(106, kMost, false), 8u);
  EXPECT_EQ(streams.advise(5001, kMost, false), 4u) << "and it can still be the start of a stream";
}

}  // namespace
}  // namespace dsm::proto
