// The page protocol under hostile schedules: thousands of seeds must be clean, and every planted bug must be seen.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/sim/run.h"

namespace dsm::sim {
namespace {

constexpr std::uint64_t kSeeds = 10'000;
constexpr std::uint64_t kSeedsForABug = 5'000;

// Each of these failed once; with the fix taken out it fails again.
TEST(Simulation, SeedsThatOnceFailedAreClean) {
  struct Once {
    std::uint64_t seed;
    const char* why;
  };
  const Once once[] = {
      {3, "a reader that a writer had asked to drop claimed a free page"},
      {6, "the same"},
      {287, "a claim found the page ours and took a waiters bit away that was gone"},
      {535, "the same"},
      {894, "a node enlisted again while it was being served, and its bit stayed"},
      {1095, "both of these"},
      {1713, "a node enlisted again while it was being served, and its bit stayed"},
      {1971, "a prefetch that raised a page cancelled what was owed to a fault"},
      {2752, "an owner to be took a member of the set for the next writer"},
  };
  const Overrides as_then{.borrow = 0, .plain = true};
  for (const auto& [seed, why] : once) {
    const Outcome outcome = run(seed, as_then);
    EXPECT_FALSE(outcome.failure) << why << "\n" << report(seed, as_then);
  }
}

TEST(Simulation, ThousandsOfSeedsAreClean) {
  std::uint64_t moves = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Outcome outcome = run(seed, {});
    moves += outcome.counts.moves;
    ASSERT_FALSE(outcome.failure) << report(seed, {});
  }
  std::printf("%llu runs, %llu steps\n", static_cast<unsigned long long>(kSeeds),
              static_cast<unsigned long long>(moves));
}

TEST(Simulation, SixteenNodesAreClean) {
  const Overrides many{.nodes = 16};
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    const Outcome outcome = run(seed, many);
    ASSERT_FALSE(outcome.failure) << report(seed, many);
  }
}

std::deque<std::string> last_lines(std::uint64_t seed) {
  Trace trace(false);
  run(seed, {}, &trace);
  return trace.lines();
}

TEST(Simulation, SeedReplaysExactly) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const std::deque<std::string> lines = last_lines(seed);
    EXPECT_FALSE(lines.empty());
    EXPECT_EQ(lines, last_lines(seed));
  }
}

// The run is about something: accesses happen, waiters are overtaken, and all of the bound for writers is used.
TEST(Simulation, SchedulesAreHostile) {
  const Overrides four{.nodes = 4, .without = {"inside"}};  // who touches inside his borrow may go before others
  std::uint64_t accesses = 0;
  Overtaken most;
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    const Counts counts = run(seed, four).counts;
    accesses += counts.accesses;
    most.exclusive = std::max(most.exclusive, counts.overtaken.exclusive);
    most.grants = std::max(most.grants, counts.overtaken.grants);
  }
  EXPECT_GT(accesses, 50'000u);
  EXPECT_EQ(most.exclusive, exclusive_bound(4));
  EXPECT_GT(most.grants, most.exclusive);
}

class PlantedBug : public testing::TestWithParam<int> {};

TEST_P(PlantedBug, IsSeen) {
  const Overrides overrides{.mutation = static_cast<Mutation>(GetParam())};
  for (std::uint64_t seed = 1; seed <= kSeedsForABug; ++seed) {
    const Outcome outcome = run(seed, overrides);
    if (!outcome.failure) continue;
    std::printf("%s: seen by %s at seed %llu: %s\n", name_of(overrides.mutation), name_of(outcome.failure->check),
                static_cast<unsigned long long>(seed), outcome.failure->text.c_str());
    return;
  }
  FAIL() << name_of(overrides.mutation) << " was never seen";
}

INSTANTIATE_TEST_SUITE_P(All, PlantedBug, testing::Range(1, static_cast<int>(Mutation::kCount)), [](const auto& info) {
  std::string name = name_of(static_cast<Mutation>(info.param));
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

TEST(Shrinking, KeepsTheFailureAndMakesItSmaller) {
  const Overrides overrides{.mutation = Mutation::kSkipUnmap};
  const std::uint64_t seed = 1;
  ASSERT_TRUE(run(seed, overrides).failure);
  const Overrides small = shrink(seed, overrides);
  EXPECT_TRUE(run(seed, small).failure);
  const Options before = options_of(seed, overrides), after = options_of(seed, small);
  EXPECT_LT(after.nodes * after.pages * after.threads * after.ops,
            before.nodes * before.pages * before.threads * before.ops);
  EXPECT_NE(report(seed, small).find("replay: scripts/sim " + command_line(seed, small)), std::string::npos);
}

}  // namespace
}  // namespace dsm::sim
