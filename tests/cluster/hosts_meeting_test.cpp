// Who may join a job from another host, and what each obstacle is called.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>

#include "cluster/unique_fd.h"
#include "hosts/frames.h"
#include "tests/cluster/hosts_run.h"

namespace dsm::cluster::test {
namespace {

const std::string kKey(32, 'k');

// A job of host 0 and host 1 that ends well whatever strangers do meanwhile.
class Meeting : public ::testing::Test {
 protected:
  const std::string address_ = free_address();
  const KeyFile key_{kKey};

  std::vector<std::string> on(unsigned number, const std::string& options = "-n 1") {
    return host(number, 2, address_, key_, options, "identity");
  }
  void expect_good_end(Process& first) {
    Process second(on(1));
    EXPECT_EQ(second.wait(), 0) << second.err();
    EXPECT_EQ(first.wait(), 0) << first.err();
  }
};

TEST_F(Meeting, AnotherKeyIsRefused) {
  const KeyFile other(std::string(32, 'x'));
  Process first(on(0));
  Process stranger(host(1, 2, address_, other, "-n 1", "identity"));
  EXPECT_EQ(stranger.wait(), 69);
  EXPECT_EQ(count(stranger.err(), "has another key; copy its --key-file to this host"), 1) << stranger.err();
  expect_good_end(first);
  EXPECT_EQ(count(first.err(), "refused who came from 127.0.0.1: its key is not this job's"), 1) << first.err();
}

TEST_F(Meeting, NonsenseAndSilenceDisturbNobody) {
  Process first(on(0));
  const UniqueFd silent(connect_to(address_));
  const UniqueFd loud(connect_to(address_));
  ASSERT_TRUE(silent);
  const std::string nonsense(100'000, 'x');
  static_cast<void>(::send(loud.get(), nonsense.data(), nonsense.size(), MSG_NOSIGNAL));
  expect_good_end(first);
  EXPECT_EQ(count(first.err(), "what it sent is nothing that dsmrun says"), 1) << first.err();
}

TEST_F(Meeting, AForgedHelloIsRefused) {
  Process first(on(0));
  const UniqueFd forger(connect_to(address_));
  ASSERT_TRUE(forger);
  struct {
    hosts::FrameHead head{hosts::kFrameMagic, hosts::kFrameVersion, hosts::FrameKind::kHello, sizeof(hosts::Hello), 0};
    hosts::Hello hello{{}, 2, 1, 1, 0, {}};
    hosts::Tag tag{};
  } forged;
  ASSERT_EQ(::send(forger.get(), &forged, sizeof forged, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof forged));
  first.wait_for("its key is not this job's");
  expect_good_end(first);
}

TEST_F(Meeting, AnotherVersionIsRefused) {
  Process first(on(0));
  const UniqueFd other(connect_to(address_));
  ASSERT_TRUE(other);
  const hosts::FrameHead head{hosts::kFrameMagic, hosts::kFrameVersion + 1, hosts::FrameKind::kHello, 8, 0};
  ASSERT_EQ(::send(other.get(), &head, sizeof head, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof head));
  first.wait_for("its dsmrun is of another version");
  expect_good_end(first);
}

// What listens there may be something else than host 0.
TEST_F(Meeting, AnAnswerThatIsNoneOfHostZeroIsCalledSo) {
  const UniqueFd listener(listen_at(address_));
  for (const auto& [version, said] :
       {std::pair{hosts::kFrameVersion + 1, "has a dsmrun of another version"}, std::pair{-1, "is no dsmrun"}}) {
    Process guest(on(1));
    const UniqueFd socket(::accept(listener.get(), nullptr, nullptr));
    hosts::FrameHead head{hosts::kFrameMagic, static_cast<std::uint16_t>(version), hosts::FrameKind::kChallenge, 32, 0};
    if (version < 0) head.magic = 0x54534554;
    ASSERT_EQ(::send(socket.get(), &head, sizeof head, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof head));
    EXPECT_EQ(guest.wait(), 69);
    EXPECT_EQ(count(guest.err(), said), 1) << guest.err();
  }
}

TEST_F(Meeting, HostsMustAgree) {
  struct Case {
    std::vector<std::string> command;
    const char* said;
  };
  const Case cases[] = {
      {host(1, 3, address_, key_, "-n 1", "identity"), "--hosts is 3 there and 2 on host 0"},
      {host(1, 2, address_, key_, "-n 48", "identity"), "with its 48 nodes the job would have more than 48"},
      {host(1, 2, address_, key_, "-n 1 --rdma-nothing 1", "identity"), "there is no option"},
      {host(1, 2, address_, key_, "-n 1 --memory-per-node 32M", "identity"), "option 'memory_per_node' is '32M'"},
  };
  Process first(on(0));
  for (const Case& each : cases) {
    Process guest(each.command);
    EXPECT_NE(guest.wait(), 0);
    EXPECT_EQ(count(guest.err(), each.said), 1) << guest.err();
  }
  expect_good_end(first);
}

TEST_F(Meeting, AHostWithoutTheProgramMustHaveMemoryToLend) {
  struct Case {
    std::string first;
    std::string second;
    const char* said;
  };
  const std::string memory = " --memory-nodes 1 --local-memory 8M";
  const Case cases[] = {
      {"-n 1", "-n 0", "1 hosts have -n 0, which is to lend memory, and there are 0 memory nodes"},
      {"-n 0" + memory, "-n 0" + memory, "2 hosts have -n 0, which is to lend memory, and there are 1 memory nodes"},
      {"-n 0 --memory-nodes 2 --local-memory 8M", "-n 0 --memory-nodes 2 --local-memory 8M",
       "all hosts have -n 0: none is left to run the program"},
      {"-n 1" + memory, "-n 0 --memory-nodes 2 --local-memory 8M", "option 'memory_nodes' is '2'"},
      {"-n 40" + memory, "-n 8" + memory, "with its 8 nodes the job would have more than 48"},
  };
  for (const Case& each : cases) {
    const std::string address = free_address();
    Process first(host(0, 2, address, key_, each.first + " --wait 60", "identity"));
    Process second(host(1, 2, address, key_, each.second, "identity"));
    EXPECT_EQ(second.wait(), 69);
    EXPECT_EQ(count(second.err(), each.said), 1) << second.err();
    ASSERT_EQ(::kill(first.pid(), SIGKILL), 0);
    first.wait();
  }
}

TEST_F(Meeting, AHostThatDoesNotComeIsNamed) {
  Process first(on(0, "-n 1 --wait 1"));
  EXPECT_EQ(first.wait(), 69);
  EXPECT_EQ(count(first.err(), "host 1 has not come within 1 s"), 1) << first.err();
}

TEST_F(Meeting, AnUnreachableHostIsNamed) {
  Process second(on(1, "-n 1 --wait 1"));
  EXPECT_EQ(second.wait(), 69);
  EXPECT_EQ(count(second.err(), fmt::format("cannot reach host 0 at {} within 1 s (Connection refused)", address_)), 1)
      << second.err();
}

TEST_F(Meeting, AnAddressThatCannotBeHadIsNamed) {
  const UniqueFd taken(listen_at(address_));
  Process in_use(on(0));
  EXPECT_EQ(in_use.wait(), 69);
  EXPECT_EQ(count(in_use.err(), address_ + " is in use"), 1) << in_use.err();
  Process not_ours(host(0, 2, "192.0.2.1:7070", key_, "-n 1", "identity"));
  EXPECT_EQ(not_ours.wait(), 69);
  EXPECT_EQ(count(not_ours.err(), "192.0.2.1:7070 is no address of this host"), 1) << not_ours.err();
  for (const char* wrong : {"nonsense", ":7070", "127.0.0.1:", "127.0.0.1:http"}) {
    Process no_address(host(0, 2, wrong, key_, "-n 1", "identity"));
    EXPECT_EQ(no_address.wait(), 64);
    EXPECT_EQ(count(no_address.err(), "--rendezvous"), 1) << no_address.err();
  }
}

TEST_F(Meeting, AKeyFileMustBeOne) {
  const KeyFile open(kKey, 0644);
  const KeyFile small(std::string(15, 'k'));
  const KeyFile large(std::string(5000, 'k'));
  Process readable(host(1, 2, address_, open, "-n 1", "identity"));
  EXPECT_EQ(readable.wait(), 64);
  EXPECT_EQ(count(readable.err(), "can be read by others: chmod 600"), 1) << readable.err();
  for (const KeyFile* each : {&small, &large}) {
    Process guest(host(1, 2, address_, *each, "-n 1", "identity"));
    EXPECT_EQ(guest.wait(), 64);
    EXPECT_EQ(count(guest.err(), "must have 16 to 4096 bytes"), 1) << guest.err();
  }
  Process missing(
      job("-n 1 --transport verbs --hosts 2 --host 1 --key-file /nonexistent --rendezvous " + address_, ""));
  EXPECT_EQ(missing.wait(), 64);
  EXPECT_EQ(count(missing.err(), "cannot read the key file /nonexistent: No such file"), 1) << missing.err();
}

TEST_F(Meeting, TheCommandLineMustMakeSense) {
  struct Case {
    const char* options;
    const char* said;
  };
  const Case cases[] = {
      {"--host 1", "say how many, --hosts H"},
      {"--hosts 2 --host 0 --rendezvous 127.0.0.1:1", "needs --key-file, too"},
      {"--hosts 1 --host 0 --rendezvous 127.0.0.1:1 --key-file k", "several hosts are two at the least"},
      {"--hosts 2 --host 2 --rendezvous 127.0.0.1:1 --key-file k", "--host must be a whole number from 0 to 1"},
      {"--hosts 2 --host 0 --rendezvous 127.0.0.1:1 --key-file k", "needs --transport verbs"},
      {"-n 0", "must be a whole number from 1 to 48"},
  };
  for (const Case& each : cases) {
    Process run(job(std::string(each.options) + (each.options[1] == 'n' ? "" : " -n 1"), "identity"));
    EXPECT_EQ(run.wait(), 64) << each.options;
    EXPECT_EQ(count(run.err(), each.said), 1) << run.err();
  }
}

}  // namespace
}  // namespace dsm::cluster::test
