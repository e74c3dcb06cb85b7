// Frames between hosts: what is taken, and that nothing forged, replayed or cut is.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>

#include "hosts/channel.h"
#include "tests/cluster/hosts_run.h"

namespace dsm::hosts {
namespace {

using cluster::UniqueFd;
using Got = Channel::Got;

JobKey key_of(char letter) {
  const cluster::test::KeyFile file(std::string(32, letter));
  return *JobKey::read(file.name());
}

// Both ends of a connection in session, and a way to put bytes of one's own into it.
class Frames : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    wire_[0] = ends[0];
    wire_[1] = ends[1];
    leader_.emplace(UniqueFd(ends[0]), key_, Side::kLeader, "follower");
    follower_.emplace(UniqueFd(ends[1]), key_, Side::kFollower, "leader");
    leader_->begin_session(Nonce{}, Nonce{});
    follower_->begin_session(Nonce{}, Nonce{});
  }

  // What the follower has sent, before the leader sees it.
  std::vector<std::byte> intercept() {
    std::vector<std::byte> bytes(65536);
    const ssize_t got = ::recv(wire_[0], bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
  }
  void put(std::span<const std::byte> bytes) {
    ASSERT_EQ(::send(wire_[1], bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }

  const JobKey key_ = key_of('k');
  int wire_[2] = {-1, -1};
  std::optional<Channel> leader_;
  std::optional<Channel> follower_;
  Channel::Frame frame_{};
};

TEST_F(Frames, ArriveWholeAndInOrder) {
  EXPECT_EQ(leader_->receive(frame_), Got::kNothing);
  follower_->send(FrameKind::kEnded, Ended{7});
  follower_->send(FrameKind::kFinished, std::span<const std::byte>());
  ASSERT_EQ(leader_->receive(frame_), Got::kFrame);
  ASSERT_NE(frame_.as<Ended>(), nullptr);
  EXPECT_EQ(frame_.as<Ended>()->exit_code, 7);
  EXPECT_EQ(frame_.as<Broken>(), nullptr);
  ASSERT_EQ(leader_->receive(frame_), Got::kFrame);
  EXPECT_EQ(frame_.kind, FrameKind::kFinished);
  EXPECT_EQ(leader_->receive(frame_), Got::kNothing);
}

TEST_F(Frames, AByteAtATimeIsEnough) {
  follower_->send(FrameKind::kEnded, Ended{7});
  const auto bytes = intercept();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(leader_->receive(frame_), Got::kNothing);
    put(std::span(bytes).subspan(i, 1));
  }
  EXPECT_EQ(leader_->receive(frame_), Got::kFrame);
}

TEST_F(Frames, EveryChangedBitIsSeen) {
  follower_->send(FrameKind::kEnded, Ended{7});
  const auto bytes = intercept();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    SetUp();
    auto changed = bytes;
    changed[i] ^= std::byte{1};
    put(changed);
    EXPECT_NE(leader_->receive(frame_), Got::kFrame) << "byte " << i;
  }
}

TEST_F(Frames, ARepeatedFrameIsRefused) {
  follower_->send(FrameKind::kEnded, Ended{7});
  const auto bytes = intercept();
  put(bytes);
  put(bytes);
  EXPECT_EQ(leader_->receive(frame_), Got::kFrame);
  EXPECT_EQ(leader_->receive(frame_), Got::kOtherKey);
}

TEST_F(Frames, AFrameCannotBeSentBack) {
  follower_->send(FrameKind::kEnded, Ended{7});
  const auto bytes = intercept();
  ASSERT_EQ(::send(wire_[0], bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(follower_->receive(frame_), Got::kOtherKey);
}

TEST_F(Frames, TooLongOnesAreNotWaitedFor) {
  const FrameHead head{kFrameMagic, kFrameVersion, FrameKind::kShares, static_cast<std::uint32_t>(kMaxPayload) + 1, 0};
  leader_->allow_large();
  put(std::as_bytes(std::span(&head, 1)));
  EXPECT_EQ(leader_->receive(frame_), Got::kNonsense);
}

TEST_F(Frames, TheEndComesAfterWhatWasSent) {
  follower_->send(FrameKind::kEnded, Ended{7});
  follower_.reset();
  EXPECT_EQ(leader_->receive(frame_), Got::kFrame);
  EXPECT_EQ(leader_->receive(frame_), Got::kClosed);
}

TEST(Shares, ComeBackAsTheyWere) {
  const NodeShares shares{{1, std::vector<std::byte>(3, std::byte{1})}, {4, {}}, {7, std::vector<std::byte>(4096)}};
  const NodeSet nodes = node_bit(1) | node_bit(4) | node_bit(7);
  auto packed = pack(shares);
  EXPECT_EQ(unpack(packed, nodes), shares);
  EXPECT_EQ(unpack(packed, node_bit(1) | node_bit(4)), std::nullopt);
  EXPECT_EQ(unpack(packed, nodes | node_bit(8)), std::nullopt);
  EXPECT_EQ(unpack(std::span(packed).first(packed.size() - 1), nodes), std::nullopt);
  packed.push_back({});
  EXPECT_EQ(unpack(packed, nodes), std::nullopt);
  const ShareHead large{0, kMaxExchangeBytes + 1};
  std::vector<std::byte> too_large(sizeof large + large.bytes);
  std::memcpy(too_large.data(), &large, sizeof large);
  EXPECT_EQ(unpack(too_large, node_bit(0)), std::nullopt);
}

TEST(Breakages, NameANodeOfTheirHost) {
  const Broken broken = pack(cluster::Breakage{3, 77, 137, "killed", "node 3 was killed"});
  EXPECT_TRUE(unpack(&broken, node_bit(3)));
  EXPECT_FALSE(unpack(&broken, node_bit(2)));
  EXPECT_FALSE(unpack(nullptr, node_bit(3)));
}

}  // namespace
}  // namespace dsm::hosts
