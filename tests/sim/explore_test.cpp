// Every schedule of small clusters is clean, and planted bugs are found with a shortest way to them.
#include <gtest/gtest.h>

#include <cstdio>
#include <string_view>

#include "tests/sim/explorer.h"

namespace dsm::sim {
namespace {

Options space_named(std::string_view name) {
  for (const Space& space : spaces()) {
    if (name == space.name) return space.options;
  }
  ADD_FAILURE() << "no space " << name;
  return {};
}

std::string text_of(const Found& found) {
  std::string text;
  for (const std::string& line : found.trace) text += line + "\n";
  return found.failure ? text + name_of(found.failure->check) + ": " + found.failure->text : text;
}

Found explore(const char* name, std::uint64_t states, Mutation mutation = Mutation::kNone) {
  Options options = space_named(name);
  options.mutation = mutation;
  const Found found = Explorer(options, {.states = states}).run();
  std::printf("%-16s %9llu states, %s to depth %u\n", name, static_cast<unsigned long long>(found.states),
              found.exhausted ? "all" : "all up", found.depth);
  return found;
}

class WholeSpace : public testing::TestWithParam<const char*> {};
TEST_P(WholeSpace, IsClean) {
  const Found found = explore(GetParam(), 1'000'000);
  EXPECT_FALSE(found.failure) << text_of(found);
  EXPECT_TRUE(found.exhausted);
  EXPECT_GT(found.ends, 0u);
}
INSTANTIATE_TEST_SUITE_P(All, WholeSpace,
                         testing::Values("raw-2-pages", "locks-2", "borrows-2", "borrows-large-2", "mixed-2", "fine-2",
                                         "rings-2", "late-answers-2", "neighbours-2"));

class BoundedSpace : public testing::TestWithParam<const char*> {};
TEST_P(BoundedSpace, IsCleanAsFarAsItIsSeen) {
  const Found found = explore(GetParam(), 150'000);
  EXPECT_FALSE(found.failure) << text_of(found);
  EXPECT_GE(found.states, 150'000u);
}
INSTANTIATE_TEST_SUITE_P(All, BoundedSpace,
                         testing::Values("raw-2", "raw-3", "hints-2", "ahead-2", "cleaned-2", "mixed-3", "owners-2",
                                         "threads-2", "nested-2", "lives-2"));

struct Planted {
  Mutation mutation;
  const char* space;
};
class PlantedBug : public testing::TestWithParam<Planted> {};
TEST_P(PlantedBug, IsFound) {
  const Found found = explore(GetParam().space, 300'000, GetParam().mutation);
  ASSERT_TRUE(found.failure) << name_of(GetParam().mutation);
  EXPECT_FALSE(found.trace.empty());
}
INSTANTIATE_TEST_SUITE_P(
    All, PlantedBug,
    testing::Values(Planted{Mutation::kSkipUnmap, "raw-2"}, Planted{Mutation::kSkipWriteBack, "mixed-2"},
                    Planted{Mutation::kEnlistLate, "mixed-2"}, Planted{Mutation::kLoseDrop, "raw-2"},
                    Planted{Mutation::kObjectLateBytes, "borrows-2"}, Planted{Mutation::kObjectNoVersion, "mixed-2"},
                    Planted{Mutation::kObjectLoseGrant, "borrows-2"},
                    Planted{Mutation::kLifeBreaksLock, "neighbours-2"}));

// Equal states have equal bytes, whatever way led there, and loading gives back what was saved.
TEST(State, SurvivesSavingAndLoading) {
  const Options options = space_named("mixed-2");
  Choices choices, other_choices;
  Simulator simulator(options, nullptr), other(options, nullptr);
  simulator.leave_chance_to(&choices);
  other.leave_chance_to(&other_choices);
  std::string bytes, again;
  for (int i = 0; i < 60 && !simulator.movable().empty(); ++i) {
    simulator.move(simulator.movable().back());
    choices = {};
    simulator.normalise();
    simulator.save(bytes);
    other.load(bytes);
    other.save(again);
    ASSERT_EQ(bytes, again) << "after move " << i;
    ASSERT_EQ(simulator.movable(), other.movable());
  }
}

}  // namespace
}  // namespace dsm::sim
