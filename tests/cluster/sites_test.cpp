// Allocation sites served by what a profile says, from dsmrun --profile to where the blocks lie: no source changes.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

class Sites : public testing::Test {
 protected:
  ~Sites() override { std::filesystem::remove_all(folder_); }

  // What a job of `nodes` nodes writes; it must end well.
  std::string run(int nodes, const std::string& options, const std::string& program) {
    Process job(words(fmt::format("{} -n {} --no-prefix {} -- {}", bin("dsmrun"), nodes, options, program)));
    EXPECT_EQ(job.wait(), 0) << job.out() << job.err();
    said_ = job.err();
    return job.out();
  }
  std::string profile_of(int nodes, const std::string& program) {
    const std::string file = folder_ + "/profile";
    plain_ = run(nodes, "--profile " + file, program);
    return file;
  }
  // The job is not started, and the reason is said.
  void expect_refused(const std::string& options, const std::string& program, const std::string& reason) {
    Process job(words(bin("dsmrun") + " -n 3 " + options + " -- " + program));
    EXPECT_EQ(job.wait(), 64) << job.out();
    EXPECT_NE(job.err().find(reason), std::string::npos) << job.err();
  }
  std::uint64_t counted(const std::string& name) {
    std::ifstream file(folder_ + "/stats");
    std::uint64_t sum = 0;
    const auto json = nlohmann::json::parse(file);
    for (const auto& node : json["nodes"]) sum += node["counters"][name].get<std::uint64_t>();
    return sum;
  }

  const std::string folder_ = [] {
    std::string name = fmt::format("{}sites-{}", testing::TempDir(), ::getpid());
    std::filesystem::create_directory(name);
    return name;
  }();
  std::string plain_, said_;
};

std::vector<pid_t> fields(const std::string& text) {
  std::vector<pid_t> all;
  for (const char* label : {"fought ", "own ", "placed ", "of ", "spread "})
    all.push_back(numbers_after(text, label).at(0));
  return all;
}

class Faces : public Sites, public testing::WithParamInterface<const char*> {};

TEST_P(Faces, MarkedSitesAreServedApartPlacedAndSpread) {
  const std::string program = bin("sites_program") + " " + GetParam();
  const std::string file = profile_of(3, program);
  const auto before = fields(plain_);
  EXPECT_LT(before[0], 8) << "64 blocks of 64 bytes: " << plain_;
  EXPECT_EQ(before[2], 0) << plain_;
  EXPECT_EQ(before[4], 1) << plain_;
  const auto after = fields(run(3, "--stats-json " + folder_ + "/stats --auto-from " + file, program));
  EXPECT_EQ(after[0], 64) << "each on a page of its own";
  EXPECT_EQ(after[1], before[1]) << "another site is served as ever";
  EXPECT_EQ(after[2], 1) << "at home with the node that uses it";
  EXPECT_EQ(after[3], 1);
  EXPECT_EQ(after[4], 3) << "on all nodes";
  EXPECT_EQ(counted("alloc_apart"), 64U);
  EXPECT_EQ(counted("alloc_placed"), 20U);
}

INSTANTIATE_TEST_SUITE_P(Of, Faces, testing::Values("", "c"),
                         [](const auto& info) { return *info.param == 'c' ? "C" : "Cpp"; });

TEST_F(Sites, BeyondTheLimitBlocksShareAgainAndThatIsToldOnce) {
  const std::string file = profile_of(3, bin("sites_program"));
  run(3, "--apart-memory 2M --stats-json " + folder_ + "/stats --auto-from " + file, bin("sites_program") + " limit");
  EXPECT_EQ(count(said_, "pages of their own is used up"), 1) << said_;
  EXPECT_LE(counted("alloc_apart"), 512U);
  EXPECT_GE(counted("alloc_apart"), 256U);
}

TEST_F(Sites, PlacesAreNotForAnotherNumberOfNodes) {
  const std::string file = profile_of(3, bin("sites_program"));
  const auto after = fields(run(2, "--auto-from " + file, bin("sites_program")));
  EXPECT_EQ(after[0], 64);
  EXPECT_EQ(after[2], 0);
  EXPECT_EQ(after[4], 1);
}

TEST_F(Sites, AMissingAForeignAndACutProfileAreRefused) {
  expect_refused("--auto-from /nowhere/profile", bin("sites_program"), "No such file");
  expect_refused("--auto-from " + bin("sites_program"), bin("sites_program"), "no profile of dsmrun --profile");
  const std::string file = profile_of(2, bin("sites_program"));
  expect_refused("--auto-from " + file, bin("torture"), "another program");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  expect_refused("--auto-from " + file, bin("sites_program"), "cut short");
}

// The build id is what tells two builds apart: a copy whose id is another one is another build.
TEST_F(Sites, AStaleProfileIsRefused) {
  const std::string copy = folder_ + "/program";
  std::filesystem::copy_file(bin("sites_program"), copy);
  const std::string file = profile_of(2, copy);
  const auto after = fields(run(2, "--auto-from " + file, copy));
  EXPECT_EQ(after[0], 64);

  std::fstream bytes(copy, std::ios::in | std::ios::out | std::ios::binary);
  std::string all{std::istreambuf_iterator<char>(bytes), {}};
  const std::string note("\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", 16);
  const std::size_t at = all.find(note);
  ASSERT_NE(at, std::string::npos) << "no build id";
  bytes.clear();
  bytes.seekp(static_cast<std::streamoff>(at + note.size()));
  bytes.put(static_cast<char>(~all[at + note.size()]));
  bytes.close();
  expect_refused("--auto-from " + file, copy, "another build");
}

TEST_F(Sites, ANodeRefusesWhatIsNotFromAProfile) {
  Process job(words(bin("dsmrun") + " -n 2 --sites apart:12 -- " + bin("sites_program")));
  EXPECT_EQ(job.wait(), 3) << job.out() << job.err();
  EXPECT_NE(job.err().find("DSM_SITES"), std::string::npos) << job.err();
}

TEST_F(Sites, ANodeThatIsKilledLeavesNothing) {
  const std::string file = profile_of(3, bin("sites_program"));
  const auto names = left_in_file_system();
  Process job(words(bin("dsmrun") + " -n 3 --auto-from " + file + " -- " + bin("sites_program") + " wait"));
  job.wait_for("fought 64");
  ::kill(job.pid(), SIGKILL);
  job.wait();
  EXPECT_TRUE(eventually([&] { return !job_memory_left(job.pid()); }));
  EXPECT_EQ(left_in_file_system(), names);
}

}  // namespace
}  // namespace dsm::cluster::test
