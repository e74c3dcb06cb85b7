// A job on several hosts: who is who, how it ends, and that nothing is left on any of them.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/cluster/hosts_run.h"

namespace dsm::cluster::test {
namespace {

const std::string kKey(32, 'k');

class Hosts : public ::testing::Test {
 protected:
  const std::string address_ = free_address();
  const KeyFile key_{kKey};

  std::vector<std::string> on(unsigned number, unsigned hosts, const std::string& options, const std::string& what) {
    return host(number, hosts, address_, key_, options, what);
  }
};

TEST_F(Hosts, NodesAreNumberedHostByHost) {
  Process second(on(1, 3, "-n 2", "identity"));  // before host 0 listens
  Process third(on(2, 3, "-n 1", "identity"));
  Process first(on(0, 3, "-n 3", "identity"));
  EXPECT_EQ(first.wait(), 0) << first.err();
  EXPECT_EQ(second.wait(), 0) << second.err();
  EXPECT_EQ(third.wait(), 0) << third.err();
  for (int node = 0; node < 6; ++node) {
    const Process& run = node < 3 ? first : node < 5 ? second : third;
    EXPECT_EQ(count(run.out(), fmt::format("[{}] node {} of 6, pid ", node, node)), 1) << run.out();
  }
  EXPECT_EQ(count(first.out() + second.out() + third.out(), "regions fit"), 6);
}

TEST_F(Hosts, EveryNodeGetsWhatAllGave) {
  Process first(on(0, 2, "-n 2", "exchange"));
  Process second(on(1, 2, "-n 3", "exchange"));
  EXPECT_EQ(first.wait(), 0) << first.err();
  EXPECT_EQ(second.wait(), 0) << second.err();
  EXPECT_EQ(count(first.out(), "right"), 6 * 2) << first.out();
  EXPECT_EQ(count(second.out(), "right"), 6 * 3) << second.out();
}

TEST_F(Hosts, FinishWaitsForTheNodesOfAllHosts) {
  Process first(on(0, 2, "-n 1", "finish-together"));
  Process second(on(1, 2, "-n 2", "finish-together"));
  second.wait_for("finishing", 2);
  EXPECT_EQ(count(second.out(), "through"), 0);
  first.type("x");
  EXPECT_EQ(first.wait(), 0) << first.err();
  EXPECT_EQ(second.wait(), 0) << second.err();
  EXPECT_EQ(count(first.out() + second.out(), "through"), 3);
}

TEST_F(Hosts, AKilledNodeIsNamedOnAllHosts) {
  Process first(on(0, 3, "-n 1", "news"));
  Process second(on(1, 3, "-n 1", "news"));
  Process third(on(2, 3, "-n 1", "news"));
  for (Process* run : {&first, &second, &third}) run->wait_for("ready");
  const pid_t victim = numbers_after(second.out(), "ready, pid ").front();
  ASSERT_EQ(::kill(victim, SIGKILL), 0);
  for (Process* run : {&first, &second, &third}) EXPECT_EQ(run->wait(), 137) << run->err();
  for (Process* run : {&first, &third}) {
    EXPECT_EQ(count(run->out(), fmt::format("told: node 1 (pid {}) killed by signal 9 (SIGKILL)", victim)), 1);
    EXPECT_EQ(count(run->err(), fmt::format("dsmrun: host 1 (127.0.0.1): node 1 (pid {}) was killed", victim)), 1)
        << run->err();
  }
}

TEST_F(Hosts, AKilledNodeEndsTheExchangeOnAllHosts) {
  Process first(on(0, 2, "-n 2", "exchange-killed"));
  Process second(on(1, 2, "-n 1", "exchange-killed"));
  EXPECT_EQ(first.wait(), 137) << first.err();
  EXPECT_EQ(second.wait(), 137) << second.err();
  EXPECT_EQ(count(second.err(), "killed by signal 9 (SIGKILL) while the job started"), 1) << second.err();
}

TEST_F(Hosts, AllEndWithTheExitCodeOfTheJob) {
  const auto on_host = [&](unsigned number, const char* script) {
    auto command = on(number, 2, "-n 1", "");
    command.resize(command.size() - 1);
    command.insert(command.end(), {"/bin/sh", "-c", script});
    return command;
  };
  Process first(on_host(0, "exit 0"));
  Process second(on_host(1, "exit 3"));
  EXPECT_EQ(first.wait(), 3) << first.err();
  EXPECT_EQ(second.wait(), 3) << second.err();
}

// Whichever host is lost, those that stay name it, and on the lost one nobody stays either.
TEST_F(Hosts, ALostHostIsNamedAndNothingIsLeft) {
  for (const int lost : {0, 1}) {
    const std::string address = free_address();
    Process first(host(0, 2, address, key_, "-n 2", "stubborn"));
    Process second(host(1, 2, address, key_, "-n 2", "stubborn"));
    first.wait_for("ready", 2);
    second.wait_for("ready", 2);
    auto pids = numbers_after(first.out() + second.out(), "pid ");
    const auto children = numbers_after(first.out() + second.out(), "child ");
    pids.insert(pids.end(), children.begin(), children.end());
    ASSERT_EQ(pids.size(), 8U);
    Process& dead = lost == 0 ? first : second;
    Process& stays = lost == 0 ? second : first;
    ASSERT_EQ(::kill(dead.pid(), SIGKILL), 0);
    EXPECT_EQ(stays.wait(), 76) << stays.err();
    EXPECT_EQ(dead.wait(), 137);
    EXPECT_EQ(count(stays.err(), fmt::format("dsmrun: host {} (127.0.0.1", lost)), 1) << stays.err();
    EXPECT_EQ(count(stays.err(), "has closed its connection; its nodes are lost"), 1) << stays.err();
    EXPECT_TRUE(all_gone(pids));
  }
}

TEST_F(Hosts, AnInterruptOnOneHostEndsTheJobOnAll) {
  Process first(on(0, 2, "-n 1", "news"));
  Process second(on(1, 2, "-n 1", "news"));
  first.wait_for("ready");
  second.wait_for("ready");
  ASSERT_EQ(::kill(second.pid(), SIGINT), 0);
  EXPECT_EQ(second.wait(), 130) << second.err();
  EXPECT_EQ(first.wait(), 130) << first.err();
}

}  // namespace
}  // namespace dsm::cluster::test
