#include <gtest/gtest.h>

#include <string>

#include "proto/rewrites.h"

namespace dsm::proto {
namespace {

// A stay for each letter: 'w' is read and then written, 'r' is only read. Gives 'F' for one that is foreseen, '.' else.
std::string foreseen(const std::string& stays) {
  Rewrites page;
  std::string found;
  for (const char stay : stays) {
    const bool ahead = page.foresee();
    found += ahead ? 'F' : '.';
    if (stay == 'w' && !ahead) page.written();
  }
  return found;
}

TEST(Rewrites, WhatIsOnlyReadIsNeverForeseen) { EXPECT_EQ(foreseen("rrrrrrrr"), "........"); }

TEST(Rewrites, AfterTwoTheNextStaysAreForeseenAndThenOneIsLookedAt) {
  EXPECT_EQ(foreseen("wwwwwwwwwwwwwwwwwwwwwwwww"), "..FFF.FFFFFFF.FFFFFFF.FFF");
}

TEST(Rewrites, OneStayOfAnotherKindBeginsAnew) {
  EXPECT_EQ(foreseen("wwwrrrrwwrwww"), "..FFF....FFF.");
  EXPECT_EQ(foreseen("wrwrwrwr"), "........");
}

TEST(Rewrites, AStoreThatFollowsNoReadMissSaysNothing) {
  Rewrites page;
  page.written();  // into a new page
  page.written();
  EXPECT_FALSE(page.foresee());
  EXPECT_FALSE(page.foresee());
  page.written();
  page.written();  // cleaned, and stored to again
  EXPECT_FALSE(page.foresee());
  page.written();
  EXPECT_TRUE(page.foresee());
}

}  // namespace
}  // namespace dsm::proto
