// Every check of placed_node in every engine on 1, 2 and 4 nodes; and what wrong use ends with.
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

class Placed : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(Placed, IsRight) {
  const auto [engine, check] = GetParam();
  const std::string obstacle = dsm::mem::engine_obstacle(engine);
  if (!obstacle.empty()) GTEST_SKIP() << engine << " cannot run here: " << obstacle;
  for (const char* nodes : {"1", "2", "4"}) {
    Process job({bin("dsmrun"), "-n", nodes, "--engine", engine, "--", bin("placed_node"), check});
    EXPECT_EQ(job.wait(), 0) << nodes << " nodes\n" << job.out() << job.err();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Engines, Placed,
    testing::Combine(testing::Values("uffd-inline", "uffd-thread", "sigsegv"),
                     testing::Values("guarded", "guarded_and_plain", "atomics", "atomics_and_plain")),
    [](const auto& info) { return name_of(std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param)); });

struct Case {
  const char* name;
  std::vector<const char*> said;
};

class PlacedMisuse : public testing::TestWithParam<Case> {};

TEST_P(PlacedMisuse, EndsWithOneClearLine) {
  Process job({bin("dsmrun"), "-n", "2", "--", bin("placed_misuse"), GetParam().name});
  EXPECT_EQ(job.wait(), 128 + SIGABRT) << job.err();
  for (const char* part : GetParam().said)
    EXPECT_NE(job.err().find(part), std::string::npos) << part << "\n" << job.err();
}

INSTANTIATE_TEST_SUITE_P(
    All, PlacedMisuse,
    testing::Values(Case{"locked_twice", {"a mutable borrow of", "placed_misuse.cpp:", "would wait for itself"}},
                    Case{"guarded_on_stack", {"not in the global heap", "placed_misuse.cpp:"}},
                    Case{"atomic_on_stack", {"dsm::atomic outside the global heap", "placed_misuse.cpp:"}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
