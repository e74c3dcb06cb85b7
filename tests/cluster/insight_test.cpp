// From a job with --profile to what dsm-advise says of it, on programs whose pattern is known because they are made so.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/tsan.h"
#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

class Insight : public testing::TestWithParam<const char*> {
 protected:
  ~Insight() override {
    std::filesystem::remove(profile_);
    std::filesystem::remove(stripped_);
  }
  // The report on a job of two nodes, of which `program` is one.
  nlohmann::json report_of(const std::string& options, const std::string& program) {
    Process run(words(bin("dsmrun") + " -n 2 " + options + " --profile " + profile_ + " -- " + program));
    EXPECT_EQ(run.wait(), 0) << run.out() << run.err();
    Process advise(words(bin("dsm-advise") + " --json " + profile_));
    EXPECT_EQ(advise.wait(), 0) << advise.err();
    return nlohmann::json::parse(advise.out());
  }

  const std::string profile_ = fmt::format("{}insight-{}.profile", testing::TempDir(), ::getpid());
  const std::string stripped_ = fmt::format("{}insight-{}.program", testing::TempDir(), ::getpid());
};

TEST_P(Insight, FindsThePatternAndItsLine) {
  const bool streams = std::string_view(GetParam()) == "streaming";
  if (kThreadSanitizer && streams) GTEST_SKIP() << "turning chunks shared takes longer here than all other faults";
  const auto report = report_of("", bin("insight_program") + " " + GetParam());
  ASSERT_FALSE(report["suggestions"].empty());
  bool found = false;
  for (const auto& suggestion : report["suggestions"]) {
    if (suggestion["pattern"] != GetParam() || suggestion["line"].get<std::string>().empty()) continue;
    found |= suggestion["line"].get<std::string>().find("insight_program.cpp:") != std::string::npos;
  }
  EXPECT_TRUE(found) << report.dump(1);
}

INSTANTIATE_TEST_SUITE_P(Patterns, Insight,
                         testing::Values("false-sharing", "migratory", "write-shared", "producer-consumer",
                                         "read-mostly", "lock-protected", "streaming"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST_F(Insight, GivesOffsetsOfAStrippedProgram) {
  Process strip(words("/usr/bin/strip -o " + stripped_ + " " + bin("insight_program")));
  ASSERT_EQ(strip.wait(), 0) << strip.err();
  const auto report = report_of("", stripped_ + " false-sharing");
  ASSERT_FALSE(report["suggestions"].empty());
  const std::string line = report["suggestions"][0]["access_line"];
  EXPECT_NE(line.find(".program+0x"), std::string::npos) << line;
}

TEST_F(Insight, RefusesWhatIsNoProfile) {
  Process advise(words(bin("dsm-advise") + " /proc/self/exe"));
  EXPECT_EQ(advise.wait(), 64);
  EXPECT_NE(advise.err().find("no profile"), std::string::npos) << advise.err();
}

// Turns change how long a node has a page, and nothing else.
TEST_F(Insight, MemoryIsCoherentWithTurns) {
  Process run(words(bin("dsmrun") + " -n 3 --auto -- " + bin("torture") + " --threads 2 --pages 8 --seconds 3"));
  EXPECT_EQ(run.wait(), 0) << run.out() << run.err();
}

}  // namespace
}  // namespace dsm::cluster::test
