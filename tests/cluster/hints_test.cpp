// Object mode over real processes: every check of hints_node, hints_owned_node and hints_group_node in every engine, on
// kObjectJobs.
#include <gtest/gtest.h>

#include "mem/fault_engine.h"
#include "tests/cluster/launcher_run.h"

namespace {

using dsm::cluster::test::bin;
using dsm::cluster::test::Process;

std::string name_of(std::string text) {
  for (char& c : text) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return text;
}

void expect_right(const char* engine, const char* program, const char* check) {
  const std::string obstacle = dsm::mem::engine_obstacle(engine);
  if (!obstacle.empty()) GTEST_SKIP() << engine << " cannot run here: " << obstacle;
  auto jobs = dsm::cluster::test::kObjectJobs;
  jobs.push_back(dsm::cluster::test::kLentJob);
  for (const auto& options : jobs) {
    Process job(dsm::cluster::test::object_job(options, engine, program, check));
    EXPECT_EQ(job.wait(), 0) << testing::PrintToString(options) << "\n" << job.out() << job.err();
  }
}

class Hints : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(Hints, AreRight) { expect_right(std::get<0>(GetParam()), "hints_node", std::get<1>(GetParam())); }

const auto kEngines = testing::Values("uffd-inline", "uffd-thread", "sigsegv");
const auto kName = [](const auto& info) {
  return name_of(std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param));
};

INSTANTIATE_TEST_SUITE_P(Engines, Hints,
                         testing::Combine(kEngines,
                                          testing::Values("values", "mixed", "exclusion", "peeks", "peeks_elsewhere",
                                                          "many", "snapshots", "transfers", "interleaved",
                                                          "own_page_raw", "close_together", "neighbours_are_freed")),
                         kName);

class Owned : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(Owned, IsRight) { expect_right(std::get<0>(GetParam()), "hints_owned_node", std::get<1>(GetParam())); }

INSTANTIATE_TEST_SUITE_P(Engines, Owned,
                         testing::Combine(kEngines, testing::Values("colours", "every_colour", "reuse",
                                                                    "reuse_by_address", "lives_of_every_colour",
                                                                    "moves", "nested", "arrays", "sizes", "ranges")),
                         kName);

class Groups : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(Groups, AreRight) { expect_right(std::get<0>(GetParam()), "hints_group_node", std::get<1>(GetParam())); }

INSTANTIATE_TEST_SUITE_P(Engines, Groups,
                         testing::Combine(kEngines, testing::Values("overtaken", "ahead", "groups", "room")), kName);

}  // namespace
