// Deaths and signals: who is told, and that nobody and nothing is left.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

// The pid that a node of a job has said it has.
pid_t pid_of(const Process& run, int node) {
  const auto pids = numbers_after(run.out(), fmt::format("[{}] ready, pid ", node));
  return pids.size() == 1 ? pids.front() : -1;
}

std::vector<pid_t> all_pids(const Process& run) {
  auto pids = numbers_after(run.out(), "pid ");
  const auto children = numbers_after(run.out(), "child ");
  pids.insert(pids.end(), children.begin(), children.end());
  return pids;
}

TEST(LauncherDeath, AKilledNodeIsNamedToTheOthersAndTheUser) {
  Process run(job("-n 3", "news"));
  const pid_t launcher = run.pid();
  run.wait_for("ready", 3);
  const pid_t victim = pid_of(run, 1);
  ASSERT_GT(victim, 0) << run.out();
  const auto pids = all_pids(run);
  ASSERT_EQ(::kill(victim, SIGKILL), 0);
  EXPECT_EQ(run.wait(), 137);
  const std::string who = fmt::format("node 1 (pid {})", victim);
  EXPECT_EQ(count(run.out(), fmt::format("told: {} killed by signal 9 (SIGKILL)", who)), 2) << run.out();
  EXPECT_EQ(count(run.err(), fmt::format("dsmrun: {} was killed by signal 9 (SIGKILL)", who)), 1) << run.err();
  EXPECT_EQ(count(run.err(), ") exited with status 9"), 2) << run.err();
  EXPECT_TRUE(all_gone(pids));
  EXPECT_FALSE(job_memory_left(launcher));
}

TEST(LauncherDeath, NodesThatIgnoreTheNewsAreKilledWithAllTheyStarted) {
  Process run(job("-n 2", "stubborn"));
  run.wait_for("ready", 2);
  const auto pids = all_pids(run);
  ASSERT_EQ(pids.size(), 4U) << run.out();
  ASSERT_EQ(::kill(pid_of(run, 0), SIGABRT), 0);
  EXPECT_EQ(run.wait(), 134);
  EXPECT_EQ(count(run.err(), ") was ended by dsmrun (SIGKILL)"), 1) << run.err();
  EXPECT_TRUE(all_gone(pids));
}

TEST(LauncherDeath, WhenDsmrunIsKilledNodesHearOfItAndEnd) {
  const auto names = left_in_file_system();
  Process run(job("-n 3", "news"));
  run.wait_for("ready", 3);
  const auto pids = all_pids(run);
  ASSERT_EQ(pids.size(), 3U);
  const pid_t launcher = run.pid();
  ASSERT_EQ(::kill(launcher, SIGKILL), 0);
  EXPECT_EQ(run.wait(), 137);
  EXPECT_TRUE(all_gone(pids));
  EXPECT_TRUE(eventually([&] { return !job_memory_left(launcher); }));
  EXPECT_EQ(left_in_file_system(), names);
}

// With one node the program writes for itself, so what it was told can be read although dsmrun is gone.
TEST(LauncherDeath, WhenDsmrunIsKilledTheCallbackSaysSo) {
  Process run(job("-n 1", "news"));
  run.wait_for("ready");
  const pid_t launcher = run.pid();
  ASSERT_EQ(::kill(launcher, SIGKILL), 0);
  EXPECT_EQ(run.wait(), 137);
  EXPECT_EQ(count(run.out(), fmt::format("told: node 255 (pid {}) dsmrun died", launcher)), 1) << run.out();
}

TEST(LauncherDeath, WhenDsmrunIsKilledNobodyOutlivesItWhateverTheyIgnore) {
  for (const char* what : {"stubborn", "stubborn-stranger"}) {
    Process run(job("-n 3", what));
    run.wait_for("ready", 3);
    const auto pids = all_pids(run);
    ASSERT_EQ(pids.size(), std::string(what) == "stubborn" ? 6U : 3U);
    const pid_t launcher = run.pid();
    ASSERT_EQ(::kill(launcher, SIGKILL), 0);
    EXPECT_EQ(run.wait(), 137);
    EXPECT_TRUE(all_gone(pids)) << what;
    EXPECT_TRUE(eventually([&] { return !job_memory_left(launcher); })) << what;
  }
}

TEST(LauncherDeath, NothingIsLeftAfterAGoodEnd) {
  const auto names = left_in_file_system();
  Process run(job("-n 3", "identity"));
  const pid_t launcher = run.pid();
  EXPECT_EQ(run.wait(), 0);
  EXPECT_TRUE(all_gone(all_pids(run)));
  EXPECT_FALSE(job_memory_left(launcher));
  EXPECT_EQ(left_in_file_system(), names);
}

TEST(LauncherDeath, WhatNodesLeaveRunningIsEnded) {
  Process run({bin("dsmrun"), "-n", "2", "--", "/bin/sh", "-c", "sleep 1000 & echo ready, pid $!"});
  EXPECT_EQ(run.wait(), 0);
  const auto pids = all_pids(run);
  ASSERT_EQ(pids.size(), 2U) << run.out();
  EXPECT_TRUE(all_gone(pids));
  EXPECT_NE(run.err().find("left processes running"), std::string::npos) << run.err();
}

TEST(LauncherDeath, SignalsArePassedOn) {
  Process run(job("-n 3", "signals"));
  run.wait_for("ready", 3);
  for (const auto& [signal, name] : {std::pair{SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}, {SIGHUP, "HUP"}, {SIGINT, "INT"}}) {
    ASSERT_EQ(::kill(run.pid(), signal), 0);
    run.wait_for(std::string("signal ") + name, 3);
  }
  ASSERT_EQ(::kill(run.pid(), SIGTERM), 0);
  EXPECT_EQ(run.wait(), 0) << run.err();
  for (const char* name : {"USR1", "USR2", "HUP", "INT", "TERM"}) {
    EXPECT_EQ(count(run.out(), std::string("signal ") + name), 3) << run.out();
  }
}

TEST(LauncherDeath, StoppingDsmrunStopsTheJob) {
  Process run(job("-n 2", "signals"));
  run.wait_for("ready", 2);
  const auto pids = all_pids(run);
  const auto all_are = [&](bool stopped) {
    return eventually([&] {
      return std::all_of(pids.begin(), pids.end(), [&](pid_t pid) { return (state_of(pid) == 'T') == stopped; });
    });
  };
  ASSERT_EQ(::kill(run.pid(), SIGTSTP), 0);
  EXPECT_TRUE(all_are(true));
  EXPECT_TRUE(eventually([&] { return state_of(run.pid()) == 'T'; }));
  ASSERT_EQ(::kill(run.pid(), SIGCONT), 0);
  EXPECT_TRUE(all_are(false));
  ASSERT_EQ(::kill(run.pid(), SIGTERM), 0);
  EXPECT_EQ(run.wait(), 0) << run.err();
}

// Whoever kills dsmrun while the job is stopped finds nobody left either.
TEST(LauncherDeath, AStoppedJobDoesNotOutliveDsmrun) {
  Process run(job("-n 2", "stubborn"));
  run.wait_for("ready", 2);
  const auto pids = all_pids(run);
  ASSERT_EQ(::kill(run.pid(), SIGTSTP), 0);
  ASSERT_TRUE(eventually([&] { return state_of(run.pid()) == 'T'; }));
  ASSERT_EQ(::kill(run.pid(), SIGKILL), 0);
  EXPECT_EQ(run.wait(), 137);
  EXPECT_TRUE(all_gone(pids));
}

TEST(LauncherDeath, ASignalThatEndsTheNodesShowsInTheExitCode) {
  Process run(job("-n 2", "news"));
  run.wait_for("ready", 2);
  ASSERT_EQ(::kill(run.pid(), SIGINT), 0);
  EXPECT_EQ(run.wait(), 130);
}

TEST(LauncherDeath, ASecondInterruptKills) {
  Process run(job("-n 2", "signals"));
  run.wait_for("ready", 2);
  const auto pids = all_pids(run);
  ASSERT_EQ(::kill(run.pid(), SIGINT), 0);
  run.wait_for("signal INT", 2);
  ASSERT_EQ(::kill(run.pid(), SIGINT), 0);
  EXPECT_EQ(run.wait(), 137);
  EXPECT_EQ(count(run.err(), ") was ended by dsmrun (SIGKILL)"), 2) << run.err();
  EXPECT_TRUE(all_gone(pids));
}

}  // namespace
}  // namespace dsm::cluster::test
