// The exchange: what every node gets, what is refused, and that it ends by name when a node is missing.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cluster/exchange.h"
#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

Contribution contribution(std::uint32_t round, std::uint32_t bytes) {
  auto made = make_message<Contribution>();
  made.round = round;
  made.bytes = bytes;
  std::memset(made.data, 'x', sizeof made.data);
  return made;
}

TEST(Exchange, TakesWhatFitsAndNothingElse) {
  Exchange exchange(2);
  EXPECT_FALSE(exchange.open());
  EXPECT_EQ(exchange.give(0, contribution(0, kMaxExchangeBytes + 1)), "it says that it has 4097 bytes");
  EXPECT_EQ(exchange.give(0, contribution(1, 8)), "it is for round 1, not 0");
  EXPECT_FALSE(exchange.open());
  EXPECT_EQ(exchange.give(0, contribution(0, 8)), "");
  EXPECT_EQ(exchange.give(0, contribution(0, 8)), "the node has given already");
  EXPECT_TRUE(exchange.open());
  EXPECT_FALSE(exchange.complete());
  EXPECT_EQ(exchange.give(1, contribution(0, 0)), "");
  ASSERT_TRUE(exchange.complete());
  const auto file = exchange.finish();
  ASSERT_TRUE(file);
  EXPECT_FALSE(exchange.open());
  EXPECT_EQ(exchange.give(1, contribution(0, 1)), "it is for round 0, not 1");
  const auto shares = read_shares(file->get(), 2);
  ASSERT_TRUE(shares);
  EXPECT_EQ(*shares, (Shares{std::vector<std::byte>(8, std::byte{'x'}), {}}));
  EXPECT_EQ(::ftruncate(file->get(), 0), -1);  // sealed
}

TEST(Exchange, WhatIsNoResultIsRefused) {
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const UniqueFd reader(pipe_ends[0]);
  const UniqueFd writer(pipe_ends[1]);
  EXPECT_EQ(read_shares(reader.get(), 1).error().code, Errc::kProtocol);
  const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(read_shares(file.get(), 1).error().code, Errc::kProtocol);
  ASSERT_EQ(::ftruncate(file.get(), 8 + kMaxExchangeBytes), 0);
  EXPECT_TRUE(read_shares(file.get(), 1));
  EXPECT_EQ(read_shares(file.get(), 2).error().code, Errc::kProtocol);
  const std::uint32_t length = kMaxExchangeBytes + 1;
  ASSERT_EQ(::pwrite(file.get(), &length, sizeof length, 0), 4);
  EXPECT_EQ(read_shares(file.get(), 1).error().code, Errc::kProtocol);
}

TEST(LauncherExchange, EveryNodeGetsWhatAllGave) {
  for (const int nodes : {1, 5}) {
    Process run(job(fmt::format("-n {}", nodes), "exchange"));
    EXPECT_EQ(run.wait(), 0) << run.err();
    for (int round = 0; round < 6; ++round) {
      EXPECT_EQ(count(run.out(), fmt::format("round {} right", round)), nodes) << run.out();
    }
  }
}

TEST(LauncherExchange, AProcessOnItsOwnGetsItsOwn) {
  Process run(words(bin("launcher_node") + " exchange"));
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(count(run.out(), "right"), 6) << run.out();
}

TEST(LauncherExchange, ADeadNodeEndsItByName) {
  Process run(job("-n 3", "exchange-killed"));
  EXPECT_EQ(run.wait(), 137);
  EXPECT_EQ(count(run.err(), "killed by signal 9 (SIGKILL) while the job started"), 2) << run.err();
  EXPECT_EQ(count(run.err(), "dsmrun: node 1 (pid "), 1) << run.err();
}

TEST(LauncherExchange, ANodeThatLeavesEndsItByName) {
  Process run(job("-n 3", "exchange-left"));
  EXPECT_EQ(run.wait(), 76);
  EXPECT_EQ(count(run.err(), "left the job without finishing while the job started"), 2) << run.err();
}

TEST(LauncherExchange, ANodeThatNeverJoinsEndsItByName) {
  Process run({bin("dsmrun"), "-n", "2", "--", "/bin/sh", "-c",
               "read line || exit 0; exec " + bin("launcher_node") + " exchange"});
  run.type("go\n");
  EXPECT_EQ(run.wait(), 76);
  EXPECT_EQ(count(run.err(), "left the job without finishing while the job started"), 1) << run.err();
}

}  // namespace
}  // namespace dsm::cluster::test
