// Page mode over real processes: every check of pagemode_node in every engine, on 2 and on 4 nodes.
#include <gtest/gtest.h>

#include "mem/fault_engine.h"
#include "tests/cluster/launcher_run.h"

namespace {

using dsm::cluster::test::bin;
using dsm::cluster::test::Process;

int run(const std::string& engine, unsigned nodes, const std::string& check, std::string* said = nullptr) {
  Process job({bin("dsmrun"), "-n", std::to_string(nodes), "--engine", engine, "--", bin("pagemode_node"), check});
  const int status = job.wait();
  if (said != nullptr) *said = job.err();
  EXPECT_TRUE(status == 0 || said != nullptr) << job.out() << job.err();
  return status;
}

class PageMode : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(PageMode, IsRight) {
  const auto [engine, check] = GetParam();
  const std::string obstacle = dsm::mem::engine_obstacle(engine);
  if (!obstacle.empty()) GTEST_SKIP() << engine << " cannot run here: " << obstacle;
  for (const unsigned nodes : {2U, 4U}) EXPECT_EQ(run(engine, nodes, check), 0) << nodes << " nodes";
}

INSTANTIATE_TEST_SUITE_P(Engines, PageMode,
                         testing::Combine(testing::Values("uffd-inline", "uffd-thread", "sigsegv"),
                                          testing::Values("values", "conversion", "coherent_free", "remote_frees",
                                                          "foreign_realloc", "placement", "roots", "hints", "streams",
                                                          "asked_too_early", "atomics")),
                         [](const auto& info) {
                           std::string name = std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param);
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

class Prefetch : public testing::TestWithParam<const char*> {};

TEST_P(Prefetch, BringsWhatOthersHaveInUse) {
  const std::string obstacle = dsm::mem::engine_obstacle(GetParam());
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
  EXPECT_EQ(run(GetParam(), 3, "asked_for"), 0);
}

INSTANTIATE_TEST_SUITE_P(Engines, Prefetch, testing::Values("uffd-inline", "uffd-thread"), [](const auto& info) {
  return std::string(info.param) == "uffd-inline" ? "uffd_inline" : "uffd_thread";
});

TEST(PageModeSystemCalls, JustWorkWithTheThreadEngine) {
  const std::string obstacle = dsm::mem::engine_obstacle("uffd-thread");
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
  EXPECT_EQ(run("uffd-thread", 2, "system_calls"), 0);
}

class WildPointer : public testing::TestWithParam<const char*> {};

TEST_P(WildPointer, IsASegmentationFault) {
  const std::string obstacle = dsm::mem::engine_obstacle(GetParam());
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
  std::string said;
  EXPECT_EQ(run(GetParam(), 2, "wild", &said), 128 + SIGSEGV);
  EXPECT_NE(said.find("node 1"), std::string::npos) << said;
}

INSTANTIATE_TEST_SUITE_P(Engines, WildPointer, testing::Values("uffd-inline", "uffd-thread", "sigsegv"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(Torture, EveryChecksumRight) {
  for (const char* engine : {"uffd-inline", "uffd-thread", "sigsegv"}) {
    if (!dsm::mem::engine_obstacle(engine).empty()) continue;
    for (const char* placement : {"spread", "one", "interleaved"}) {
      Process job({bin("dsmrun"), "-n", "4", "--engine", engine, "--", bin("torture"), "--seconds", "2", "--pages",
                   "16", "--placement", placement});
      EXPECT_EQ(job.wait(), 0) << engine << " " << placement << "\n" << job.out() << job.err();
      EXPECT_NE(job.out().find("every checksum right"), std::string::npos) << job.out();
    }
  }
}

}  // namespace
