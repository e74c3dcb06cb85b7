// Memory nodes and bounded local memory, with real processes.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/tsan.h"
#include "mem/fault_engine.h"
#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

std::vector<std::string> command(const std::string& options, const std::string& check) {
  return words(bin("dsmrun") + " --slice 4G --interleaved 64M " + options + " -- " + bin("memory_program") + " " +
               check);
}

// Runs a check that is to succeed, on some nodes and two memory nodes, and gives the counters of node 0.
nlohmann::json counters_of(unsigned nodes, const std::string& more, const std::string& check) {
  const std::string options = fmt::format("-n {} --memory-nodes 2 {}", nodes, more);
  const std::string file = fmt::format("{}memory-{}.json", testing::TempDir(), ::getpid());
  Process run(command(options + " --stats-json " + file, check));
  EXPECT_EQ(run.wait(), 0) << run.out() << run.err();
  nlohmann::json json = nlohmann::json::parse(std::ifstream(file))["nodes"];
  std::filesystem::remove(file);
  EXPECT_EQ(json.size(), nodes + 2);
  for (std::size_t node = nodes; node < json.size(); ++node) {
    EXPECT_EQ(json[node]["counters"]["message_received"], 0) << "a memory node was asked for something";
  }
  return json[0]["counters"];
}

class Memory : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(Memory, IsRightWhenItDoesNotFit) {
  const auto [engine, check] = GetParam();
  const std::string obstacle = mem::engine_obstacle(engine);
  if (!obstacle.empty()) GTEST_SKIP() << engine << " cannot run here: " << obstacle;
  const unsigned nodes = std::string(check) == "shared" ? 2 : 1;
  const auto counters = counters_of(nodes, fmt::format("--local-memory 8M --engine {}", engine), check);
  EXPECT_GT(counters["evicted"], 0);
  EXPECT_LE(counters["resident_pages"], 2048);
  EXPECT_GT(counters["cleaned"], 0);
}

INSTANTIATE_TEST_SUITE_P(Engines, Memory,
                         testing::Combine(testing::Values("uffd-inline", "uffd-thread", "sigsegv"),
                                          testing::Values("values", "same_pages", "clean", "recycled", "rewritten",
                                                          "shared")),
                         [](const auto& info) {
                           std::string name = std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param);
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(MemoryNodes, AFreshPageCostsNoRemoteOperation) {
  const auto counters = counters_of(1, "--local-memory 64M", "fresh");
  EXPECT_GE(counters["fresh_page"], 4096);
  EXPECT_EQ(counters["op_read"], 0);
  EXPECT_EQ(counters["bytes_read"], 0);
  EXPECT_EQ(counters["write_back"], 0);
}

TEST(MemoryNodes, FreshPagesAreNotFetchedEvenWhenOthersMustGoForThem) {
  const auto counters = counters_of(1, "--local-memory 4M", "fresh");
  EXPECT_GE(counters["fresh_page"], 4096);
  EXPECT_GT(counters["evicted"], 0);
  EXPECT_EQ(counters["miss_remote"], 0);
}

TEST(MemoryNodes, ACleanPageIsNotWrittenBack) {
  const auto counters = counters_of(1, "--local-memory 8M", "clean");
  EXPECT_LE(counters["write_back"], 8192);  // each page once at the most
  EXPECT_GT(counters["evicted"], 2 * 8192);
}

// Of the seven rounds that find the pages elsewhere the first two and the sixth are looked at.
TEST(MemoryNodes, APageThatWasReadAndThenWrittenIsFetchedForBoth) {
  constexpr std::uint64_t kPages = 8192, kHere = 2048;
  const auto counters = counters_of(1, "--local-memory 8M", "rewritten");
  EXPECT_GT(counters["foreseen"], 4 * (kPages - kHere));
  EXPECT_LT(counters["upgrade"], 4 * kPages);
}

TEST(MemoryNodes, WhenAllIsUsedUpTheProgramHearsOfItAndGoesOn) {
  for (const char* local : {"4M", "64M"}) {
    Process run(
        command(fmt::format("-n 1 --memory-nodes 2 --memory-per-node 16M --local-memory {}", local), "used_up"));
    EXPECT_EQ(run.wait(), 0) << run.out() << run.err();
    EXPECT_EQ(count(run.out(), " MiB, then nullptr; 0 wrong"), 1) << run.out();
  }
}

TEST(MemoryNodes, AWildPointerIsASegmentationFault) {
  for (const char* engine : {"uffd-inline", "uffd-thread", "sigsegv"}) {
    if (!mem::engine_obstacle(engine).empty()) continue;
    Process run(command(fmt::format("-n 1 --memory-nodes 1 --local-memory 8M --engine {}", engine), "wild"));
    EXPECT_EQ(run.wait(), 128 + SIGSEGV) << engine << run.err();
    EXPECT_EQ(count(run.out(), "ready"), 1);
  }
}

// The children of a process that run dsm-memory-node.
std::vector<pid_t> lenders_of(pid_t launcher) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string line;
    std::getline(file, line);
    const std::size_t end = line.rfind(')');
    if (end == std::string::npos || line.find("(dsm-memory-node") == std::string::npos) continue;
    if (std::stol(line.substr(end + 4)) == launcher) found.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return found;
}

// How often the threads of a process have been given a CPU and have let it go.
long switches_of(pid_t pid) {
  long sum = 0;
  for (const auto& thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid))) {
    std::ifstream file(thread.path() / "status");
    for (std::string line; std::getline(file, line);) {
      const std::size_t at = line.find("ctxt_switches:");
      if (at != std::string::npos) sum += std::stol(line.substr(at + 14));
    }
  }
  return sum;
}

TEST(MemoryNodes, SleepWhileTheirMemoryIsUsed) {
  if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer adds a thread that does not sleep";
  Process run(command("-n 1 --memory-nodes 2 --local-memory 8M", "steady"));
  run.wait_for("ready");
  run.type("\n");
  run.wait_for("round done, 0 wrong");
  const auto lenders = lenders_of(run.pid());
  ASSERT_EQ(lenders.size(), 2U);
  std::vector<long> before;
  for (const pid_t lender : lenders) before.push_back(switches_of(lender));
  run.type("\n\n");
  run.wait_for("round done, 0 wrong", 3);
  for (std::size_t i = 0; i < lenders.size(); ++i) EXPECT_EQ(switches_of(lenders[i]), before[i]) << lenders[i];
  run.close_input();
  EXPECT_EQ(run.wait(), 0) << run.err();
  for (const pid_t lender : lenders) EXPECT_TRUE(is_gone(lender));
}

TEST(MemoryNodes, TheDeathOfOneIsToldAndEndsTheProgram) {
  Process run(command("-n 1 --memory-nodes 2 --local-memory 8M", "forever"));
  run.wait_for("ready");
  const auto lenders = lenders_of(run.pid());
  ASSERT_EQ(lenders.size(), 2U);
  ASSERT_EQ(::kill(lenders[1], SIGKILL), 0);
  EXPECT_EQ(run.wait(), 137);
  EXPECT_EQ(count(run.err(), "memory of this program is lost with it"), 1) << run.err();
  EXPECT_EQ(count(run.err(), fmt::format("dsmrun: memory node ")), 1) << run.err();
  EXPECT_GE(count(run.err(), fmt::format("(pid {}) was killed by signal 9 (SIGKILL)", lenders[1])), 1) << run.err();
  for (const pid_t lender : lenders) EXPECT_TRUE(is_gone(lender));
}

TEST(MemoryNodes, OptionsThatMakeNoSenseAreRefused) {
  const auto complaint = [](const std::string& options) {
    Process run(command(options, "fresh"));
    EXPECT_EQ(run.wait(), 64) << options;
    return run.err();
  };
  EXPECT_EQ(count(complaint("-n 1 --memory-nodes 1"), "add DSM_LOCAL_MEMORY (--local-memory 256M)"), 1);
  EXPECT_EQ(count(complaint("-n 1 --local-memory 64M"), "add --memory-nodes 1 to dsmrun"), 1);
  EXPECT_EQ(count(complaint("-n 1 --memory-nodes 1 --local-memory 2M"), "4M is the least"), 1);
  EXPECT_EQ(count(complaint("-n 1 --memory-nodes 1 --local-memory 8M --memory-per-node 8G"), "exceeds DSM_SLICE"), 1);
  EXPECT_EQ(count(complaint("-n 47 --memory-nodes 2 --local-memory 8M"), "use fewer"), 1);
}

TEST(MemoryNodes, AProgramWithoutDsmrunHearsThatItHasNone) {
  Start start;
  start.environment = {"DSM_MEMORY_NODES=1", "DSM_LOCAL_MEMORY=8M"};
  Process run({bin("memory_program"), "fresh"}, start);
  EXPECT_EQ(run.wait(), 1);
  EXPECT_EQ(count(run.err(), "memory nodes are processes that dsmrun starts"), 1) << run.err();
}

TEST(MemoryNodes, TortureFindsEveryChecksumRight) {
  for (const char* engine : {"uffd-inline", "uffd-thread", "sigsegv"}) {
    if (!mem::engine_obstacle(engine).empty()) continue;
    for (const char* placement : {"one", "interleaved"}) {
      Process run({bin("dsmrun"), "-n", "2", "--memory-nodes", "2", "--local-memory", "4M", "--engine", engine, "--",
                   bin("torture"), "--seconds", "2", "--pages", "4000", "--placement", placement});
      EXPECT_EQ(run.wait(), 0) << engine << " " << placement << "\n" << run.out() << run.err();
      EXPECT_EQ(count(run.out(), "every checksum right"), 1) << run.out();
    }
  }
}

}  // namespace
}  // namespace dsm::cluster::test
