#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "proto/eviction.h"

namespace dsm::proto {
namespace {

// A cache that runs the policy as the runtime does: it sees misses, and touches of pages that rest.
class Cache {
 public:
  Cache(std::uint32_t pages, std::uint32_t capacity)
      : capacity_(capacity),
        frames_(new Frame[pages]()),
        young_(Eviction::ring_slots(capacity)),
        main_(Eviction::ring_slots(capacity)),
        policy_(frames_.get(), young_.data(), main_.data(), capacity) {}

  bool touch(PageId page) {  // true: a hit
    Frame& frame = frames_[page];
    if (frame.here) {
      if (frame.resting) frame.back = true;
      frame.resting = false;
      return true;
    }
    if (policy_.size() == capacity_) put_out();
    policy_.enter(page);
    frame.here = true;
    frame.resting = false;
    for (PageId other = 0; policy_.next_rest(other);) frames_[other].resting = true;
    return false;
  }
  PageId put_out() {
    PageId page = 0;
    EXPECT_TRUE(policy_.next_victim(page));
    EXPECT_TRUE(frames_[page].here) << page;
    frames_[page].here = false;
    return page;
  }
  bool here(PageId page) const { return frames_[page].here; }
  bool resting(PageId page) const { return frames_[page].here && frames_[page].resting; }
  void comes(PageId page) {  // with no room made for it
    policy_.enter_in_place_of_lost(page);
    frames_[page].here = true;
  }
  void loses_bytes(PageId page) { frames_[page].here = false; }
  Eviction& policy() { return policy_; }

 private:
  const std::uint32_t capacity_;
  std::unique_ptr<Frame[]> frames_;
  std::vector<PageId> young_, main_;
  Eviction policy_;
};

TEST(Eviction, NothingToPutOutOfAnEmptyCache) {
  Cache cache(10, 4);
  PageId page = 0;
  EXPECT_FALSE(cache.policy().next_victim(page));
  EXPECT_FALSE(cache.policy().next_rest(page));
}

TEST(Eviction, PagesThatNobodyTouchesAgainLeaveInTheOrderOfTheirComing) {
  Cache cache(100, 20);
  for (PageId page = 0; page < 20; ++page) EXPECT_FALSE(cache.touch(page));
  for (PageId page = 0; page < 20; ++page) EXPECT_EQ(cache.put_out(), page);
}

TEST(Eviction, APageIsQueuedOnce) {
  Cache cache(10, 4);
  cache.touch(1);
  cache.policy().enter(1);
  EXPECT_EQ(cache.policy().size(), 1U);
}

TEST(Eviction, AScanLeavesPagesInUseAlone) {
  Cache cache(100'000, 1000);
  for (int round = 0; round < 50; ++round) {
    for (PageId page = 0; page < 500; ++page) cache.touch(page);
    for (PageId page = 0; page < 600; ++page) cache.touch(1000 + static_cast<PageId>(round) * 600 + page);
  }
  for (PageId page = 90'000; page < 100'000; ++page) cache.touch(page);
  unsigned left = 0;
  for (PageId page = 0; page < 500; ++page) left += cache.here(page);
  EXPECT_EQ(left, 500U);
}

TEST(Reuse, APageThatCameBackTwiceIsSparedOneRoundAndThriceThree) {
  Reuse reuse;
  const auto spared_rounds = [&] {
    int rounds = 0;
    for (; reuse.spared(); ++rounds) EXPECT_TRUE(reuse.stays(false));
    return rounds;
  };
  for (const int rounds : {0, 1, 3, 3}) {
    EXPECT_TRUE(reuse.stays(true));
    EXPECT_EQ(spared_rounds(), rounds);
  }
}

TEST(Reuse, APageThatCameBackThriceMayFailToOnce) {
  Reuse reuse;
  EXPECT_FALSE(reuse.stays(false));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(reuse.stays(true));
  while (reuse.spared()) EXPECT_TRUE(reuse.stays(false));
  EXPECT_TRUE(reuse.sure());
  EXPECT_TRUE(reuse.stays(false));
  EXPECT_FALSE(reuse.sure());
  EXPECT_FALSE(reuse.stays(false));
}

// Beside a loop that does not fit, which keeps the main queue going round.
TEST(Eviction, PagesInSteadyUseSeldomRest) {
  Cache cache(10'000, 1000);
  unsigned rested = 0, missed = 0;
  for (unsigned i = 0; i < 400'000; ++i) {
    const PageId page = i % 100;
    const bool counts = i >= 200'000;
    rested += counts && cache.resting(page);
    missed += !cache.touch(page) && counts;
    cache.touch(1000 + i % 1500);
  }
  EXPECT_LT(missed, 100U);   // one touch in 2000
  EXPECT_LT(rested, 5000U);  // 10,822 if each of them rests in every round
}

// LRU and FIFO hit nothing here.
TEST(Eviction, ALoopLargerThanTheCacheKeepsMostOfIt) {
  Cache cache(1100, 1000);
  unsigned hits = 0;
  for (int round = 0; round < 40; ++round) {
    hits = 0;
    for (PageId page = 0; page < 1100; ++page) hits += cache.touch(page);
  }
  EXPECT_GT(hits, 1100U / 2);
}

TEST(Eviction, ANewWorkingSetReplacesTheOld) {
  Cache cache(10'000, 1000);
  for (int round = 0; round < 40; ++round) {
    for (PageId page = 0; page < 900; ++page) cache.touch(page);
  }
  unsigned hits = 0;
  for (int round = 0; round < 40; ++round) {
    hits = 0;
    for (PageId page = 5000; page < 5900; ++page) hits += cache.touch(page);
  }
  EXPECT_EQ(hits, 900U);
}

// Of 100 pages that came once 33 rest, and four of those may be clean.
TEST(Eviction, PagesThatGoNextAreNamedToBeCleanedOnce) {
  Cache cache(1000, 100);
  for (PageId page = 0; page < 100; ++page) cache.touch(page);
  cache.touch(1);
  std::vector<PageId> named;
  for (PageId page = 0; cache.policy().next_clean(page);) named.push_back(page);
  EXPECT_EQ(named, (std::vector<PageId>{0, 2, 3}));
  EXPECT_EQ(cache.put_out(), 0U);
  PageId page = 0;
  EXPECT_TRUE(cache.policy().next_clean(page));
  EXPECT_EQ(page, 4U);
  EXPECT_FALSE(cache.policy().next_clean(page));
}

TEST(Eviction, WhenAllIsInUseThereIsStillAVictim) {
  Cache cache(100, 10);
  std::mt19937 random(1);
  for (int i = 0; i < 10'000; ++i) cache.touch(random() % 12);
  EXPECT_EQ(cache.policy().size(), 10U);
}

// Pages that lost their bytes otherwise are still queued; they must not keep others out.
TEST(Eviction, DeadPagesFillTheQueuesUntilTheyAreTakenOut) {
  Cache cache(100, 10);
  PageId page = 0;
  while (!cache.policy().full()) cache.policy().enter(page++);
  EXPECT_EQ(page, 20U);
  PageId victim = 99;
  EXPECT_TRUE(cache.policy().next_victim(victim));
  EXPECT_FALSE(cache.policy().full());
  EXPECT_EQ(victim, 0U);
}

// Whichever it is, and whatever the others have been through.
TEST(Eviction, TheOneLostPageOfFullQueuesGivesItsPlaceUp) {
  for (PageId lost = 0; lost < 20; ++lost) {
    Cache cache(100, 10);
    for (PageId page = 0; page < 20; ++page) cache.comes(page);
    for (PageId page = 0; page < 200; ++page) {
      if (page % 3 == 0) cache.touch(page % 20);
      PageId victim = 0;
      ASSERT_TRUE(cache.policy().next_victim(victim));
      cache.policy().enter(victim);
    }
    ASSERT_TRUE(cache.policy().full());
    cache.loses_bytes(lost);
    cache.comes(50);
    EXPECT_TRUE(cache.policy().full());
    cache.comes(50);  // it is queued already
    cache.policy().enter(lost == 7 ? 8 : 7);
    EXPECT_EQ(cache.policy().size(), 20U);
  }
}

TEST(EvictionDeath, MorePagesThanHavePlacesAreABug) {
  Cache cache(100, 10);
  for (PageId page = 0; page < 20; ++page) cache.comes(page);
  EXPECT_DEATH(cache.comes(20), "more than 20 pages are in a cache of 10");
}

}  // namespace
}  // namespace dsm::proto
