// The abstract machine says what the literature says.
#include "tests/litmus/model.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace litmus {
namespace {

const Program& program(const std::string& name) {
  const auto programs = all_programs();
  return *std::find_if(programs.begin(), programs.end(), [&](const Program& one) { return one.name == name; });
}

// Whether some allowed outcome has these registers (and variables, where one is not -1).
bool may(const std::string& name, std::vector<int> registers, std::vector<int> variables = {}, unsigned hinted = 0) {
  const Outcomes found = allowed(program(name), hinted);
  for (unsigned outcome = 0; outcome < found.size(); ++outcome) {
    if (!found.test(outcome)) continue;
    bool fits = true;
    for (std::size_t i = 0; i < registers.size(); ++i) {
      fits &= static_cast<int>(outcome >> 2 * i & 3) == registers[i];
    }
    for (std::size_t i = 0; i < variables.size(); ++i) {
      fits &= variables[i] < 0 || static_cast<int>(outcome >> 2 * (kRegisters + i) & 3) == variables[i];
    }
    if (fits) return true;
  }
  return false;
}

TEST(LitmusModel, OnlyStoreBuffersAreSeen) {
  EXPECT_TRUE(may("SB", {0, 0}));
  EXPECT_TRUE(may("SB+fence+po", {0, 0}));
  EXPECT_FALSE(may("SB+fences", {0, 0}));
  EXPECT_FALSE(may("SB+atomics", {0, 0}));
  EXPECT_TRUE(may("R", {0}, {-1, 2}));
  EXPECT_FALSE(may("R+fences", {0}, {-1, 2}));
  EXPECT_TRUE(may("RWC", {1, 0, 0}));
  EXPECT_FALSE(may("RWC+fences", {1, 0, 0}));
}

TEST(LitmusModel, TheRestIsForbidden) {
  EXPECT_FALSE(may("MP", {1, 0}));
  EXPECT_FALSE(may("LB", {1, 1}));
  EXPECT_FALSE(may("S", {1}, {2}));
  EXPECT_FALSE(may("2+2W", {}, {1, 1}));
  EXPECT_FALSE(may("WRC", {1, 1, 0}));
  EXPECT_FALSE(may("ISA2", {1, 1, 0}));
  EXPECT_FALSE(may("IRIW", {1, 0, 1, 0}));
  EXPECT_FALSE(may("CoRR", {1, 0}));
  EXPECT_FALSE(may("CoRR2", {1, 2, 2, 1}));
  EXPECT_FALSE(may("CoWW", {}, {1}));
  EXPECT_FALSE(may("CoRW", {2}, {2}));
  EXPECT_FALSE(may("CoWR", {2, 2}, {1}) && may("CoWR", {0, 1}));
  EXPECT_FALSE(may("ADD", {0, 0}));
}

TEST(LitmusModel, OrdinaryOutcomesAreAllowed) {
  for (const auto& outcome : {std::vector{0, 0}, {0, 1}, {1, 1}}) EXPECT_TRUE(may("MP", outcome));
  EXPECT_TRUE(may("2+2W", {}, {1, 2}));
  EXPECT_TRUE(may("IRIW", {1, 0, 0, 1}));
}

TEST(LitmusModel, ScopesAreWholeAndInOneOrder) {
  EXPECT_FALSE(may("SB", {0, 0}, {}, 0b11));
  EXPECT_TRUE(may("SB", {0, 0}, {}, 0b10));
  EXPECT_FALSE(may("WHOLE", {0, 1, 1}, {}, 0b11));
  EXPECT_FALSE(may("EXCLUDE", {0, 0}, {}, 0b11));
  EXPECT_FALSE(may("MIDDLE", {1}, {}, 0b01));
  EXPECT_TRUE(may("MIDDLE", {0, 2}, {}, 0b01));
}

}  // namespace
}  // namespace litmus
