// The page protocol under hostile schedules: thousands of seeds must be clean, and every planted bug must be seen.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/sim/run.h"

namespace dsm::sim {
namespace {

TEST(Simulation, ThousandsOfSeedsAreClean) {
  std::uint64_t moves = 0;
  for (std::uint64_t seed = 1; seed <= 6000; ++seed) {
    const Outcome outcome = run(seed, {});
    moves += outcome.counts.moves;
    ASSERT_FALSE(outcome.failure) << report(seed, {});
  }
  std::printf("6000 runs, %lu steps\n", static_cast<unsigned long>(moves));
}

TEST(Simulation, SixteenNodesAreClean) {
  const Overrides many{.nodes = 16, .pages = {}, .threads = {}, .ops = {}};
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    const Outcome outcome = run(seed, many);
    ASSERT_FALSE(outcome.failure) << report(seed, many);
  }
}

TEST(Simulation, ASeedReplaysExactly) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const Outcome once = run(seed, {}), again = run(seed, {});
    EXPECT_EQ(once.counts.moves, again.counts.moves);
    EXPECT_EQ(once.counts.accesses, again.counts.accesses);
  }
}

class PlantedBug : public testing::TestWithParam<int> {};

TEST_P(PlantedBug, IsSeen) {
  Overrides overrides;
  overrides.mutation = static_cast<Mutation>(GetParam());
  for (std::uint64_t seed = 1; seed <= 20'000; ++seed) {
    const Outcome outcome = run(seed, overrides);
    if (!outcome.failure) continue;
    std::printf("%s: seen by %s at seed %lu\n", name_of(overrides.mutation), name_of(outcome.failure->check),
                static_cast<unsigned long>(seed));
    return;
  }
  FAIL() << name_of(overrides.mutation) << " was never seen";
}

INSTANTIATE_TEST_SUITE_P(All, PlantedBug, testing::Range(1, static_cast<int>(Mutation::kCount)), [](const auto& info) {
  std::string name = name_of(static_cast<Mutation>(info.param));
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

}  // namespace
}  // namespace dsm::sim
