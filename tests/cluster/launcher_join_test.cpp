// Who may join, as what, and how a job ends when all is well.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

TEST(LauncherJoin, EveryNodeHasItsNumberAndItsMemory) {
  Process run(job("-n 5", "identity"));
  EXPECT_EQ(run.wait(), 0) << run.err();
  for (int node = 0; node < 5; ++node) {
    EXPECT_EQ(count(run.out(), fmt::format("[{}] node {} of 5, pid ", node, node)), 1) << run.out();
  }
  EXPECT_EQ(count(run.out(), "slice 67108864, regions fit"), 5) << run.out();
  const auto pids = numbers_after(run.out(), "pid ");
  EXPECT_EQ(std::set<pid_t>(pids.begin(), pids.end()).size(), 5U);
}

TEST(LauncherJoin, AProcessOnItsOwnIsAJobOfOneNode) {
  Process run(words(bin("launcher_node") + " alone"));
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(run.out(), "node 0 of 1, finish 1\n");
}

TEST(LauncherJoin, AJobOfOneNode) {
  Process run(job("-n 1", "identity"));
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(count(run.out(), "node 0 of 1, pid "), 1) << run.out();
}

TEST(LauncherJoin, TwoJobsAtOnceKeepApart) {
  Process first(job("-n 2", "finish-together"));
  Process second(job("-n 3", "finish-together"));
  first.wait_for("finishing", 1);
  second.wait_for("finishing", 2);
  // The first may finish while the second waits.
  first.type("x");
  EXPECT_EQ(first.wait(), 0) << first.err();
  EXPECT_EQ(count(second.out(), "through"), 0);
  second.type("x");
  EXPECT_EQ(second.wait(), 0) << second.err();
  EXPECT_EQ(count(first.out(), "through"), 2);
  EXPECT_EQ(count(second.out(), "through"), 3);
}

TEST(LauncherJoin, FinishWaitsForAll) {
  Process run(job("-n 3", "finish-together"));
  run.wait_for("finishing", 2);
  EXPECT_EQ(count(run.out(), "through"), 0);
  run.type("x");
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(count(run.out(), "finishing"), 3);
  EXPECT_EQ(count(run.out(), "through"), 3);
}

TEST(LauncherJoin, FinishMayGiveUpWaiting) {
  Process run(job("-n 2", "finish-in-vain"));
  run.wait_for("[1] timed out");
  run.type("x");
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(run.err(), "");
}

// Those who exit well without ever joining are not waited for.
TEST(LauncherJoin, NodesThatNeverJoinCountAsFinished) {
  Process run({bin("dsmrun"), "-n", "3", "--", "/bin/sh", "-c",
               "read line || exit 0; exec " + bin("launcher_node") + " identity"});
  run.type("go\n");
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(count(run.out(), "[0] node 0 of 3"), 1) << run.out();
}

TEST(LauncherJoin, AScriptMayStandAroundANode) {
  Process run({bin("dsmrun"), "-n", "2", "--", "/bin/sh", "-c", bin("launcher_node") + " identity; exit 0"});
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(count(run.out(), "regions fit"), 2) << run.out();
}

TEST(LauncherJoin, NobodyJoinsTwice) {
  Process run(job("-n 2", "again"));
  EXPECT_EQ(run.wait(), 0) << run.err();
  for (const char* who : {"again: refused", "fork: refused", "exec: refused"}) {
    EXPECT_EQ(count(run.out(), who), 2) << run.out();
  }
  EXPECT_EQ(count(run.out(), "joined"), 0) << run.out();
  EXPECT_EQ(count(run.err(), "unset DSM_CONTROL_FD"), 2) << run.err();
}

// Both processes of each script are equals; whoever asks first is the node, and gets its own answer.
TEST(LauncherJoin, OfTwoProcessesOneIsTheNode) {
  const std::string node = bin("launcher_node");
  Process run({bin("dsmrun"), "-n", "2", "--", "/bin/sh", "-c",
               node + " identity & " + node + " identity & wait $!; echo one $?; wait; exit 0"});
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(count(run.out(), "regions fit"), 2) << run.out();
  EXPECT_EQ(count(run.err(), "has already joined as node 0"), 1) << run.err();
  EXPECT_EQ(count(run.err(), "has already joined as node 1"), 1) << run.err();
}

TEST(LauncherJoin, OptionsMustAgree) {
  Process run(job("-n 2", "change"));
  EXPECT_EQ(run.wait(), 50) << run.err();
  EXPECT_NE(run.err().find("option 'slice' is '128M' on this node and '64M' in the job"), std::string::npos)
      << run.err();
}

TEST(LauncherJoin, NonsenseAtTheRendezvousIsIgnored) {
  Process run(job("-n 2", "nonsense"));
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(count(run.out(), "regions fit"), 2) << run.out();
  EXPECT_EQ(count(run.err(), "no request to join came in; ignored"), 8) << run.err();
}

TEST(LauncherJoin, AVariableThatNamesNoSocketIsRefused) {
  for (const char* value : {"DSM_CONTROL_FD=", "DSM_CONTROL_FD=0:1", "DSM_CONTROL_FD=x", "DSM_CONTROL_FD=99999:5"}) {
    Process run(words(bin("launcher_node") + " identity"), {.environment = {value}, .in_child = {}});
    EXPECT_EQ(run.wait(), 50) << value;
    EXPECT_EQ(count(run.err(), "unset DSM_CONTROL_FD"), 1) << run.err();
  }
}

TEST(LauncherJoin, AJobInsideANodeIsAJobOfItsOwn) {
  Process run({bin("dsmrun"), "-n", "2", "--", bin("dsmrun"), "-n", "2", "--", bin("launcher_node"), "identity"});
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(count(run.out(), "[1] [1] node 1 of 2"), 1) << run.out();
  EXPECT_EQ(count(run.out(), "regions fit"), 4) << run.out();
}

}  // namespace
}  // namespace dsm::cluster::test
