#include "hosts/follower.h"

#include <fmt/core.h>

#include "cluster/endings.h"

namespace dsm::hosts {

using cluster::Breakage;
using cluster::HostNews;

Follower::Follower(Met met, Lookout lookout)
    : places_(std::move(met.places)), channel_(std::move(met.channels.front())), lookout_(std::move(lookout)) {
  lookout_.add(channel_);
}

std::vector<HostNews> Follower::serve() {
  if (!over_) care();
  Channel::Frame frame;
  while (!over_) {
    const Channel::Got got = channel_.receive(frame);
    if (got == Channel::Got::kNothing) break;
    if (got == Channel::Got::kClosed) {
      lose(channel_.why_closed());
    } else if (got != Channel::Got::kFrame || !take(frame)) {
      lose("has sent what makes no sense");
    }
  }
  return std::exchange(news_, {});
}

bool Follower::take(const Channel::Frame& frame) {
  switch (frame.kind) {
    case FrameKind::kShares: {
      auto shares = unpack(frame.payload, places_.all());
      if (!shares) return false;
      HostNews news{.kind = HostNews::Kind::kShares};
      for (auto& [node, bytes] : *shares) news.shares.push_back(std::move(bytes));
      news_.push_back(std::move(news));
      return true;
    }
    case FrameKind::kFinished:
      news_.push_back({.kind = HostNews::Kind::kAllFinished});
      return frame.payload.empty();
    case FrameKind::kBroken: {
      auto breakage = unpack(frame.as<Broken>(), places_.all());
      if (breakage) news_.push_back({.kind = HostNews::Kind::kBroken, .broken = *breakage});
      return breakage.has_value();
    }
    case FrameKind::kOver: {
      const auto* over = frame.as<Ended>();
      if (over == nullptr) return false;
      over_ = true;
      lookout_.drop(channel_);
      news_.push_back({.kind = HostNews::Kind::kOver, .exit_code = over->exit_code});
      return true;
    }
    default:
      return false;
  }
}

// Without host 0 there is nobody to wait for; if nodes run here, theirs are lost.
void Follower::lose(const char* why) {
  over_ = true;
  lookout_.drop(channel_);
  const std::string who = fmt::format("host 0 ({})", channel_.address());
  if (!ended_) {
    const Breakage breakage{places_.first_of(0), 0, cluster::kExitLeft, fmt::format("is lost: its {} {}", who, why),
                            fmt::format("{} {}; its nodes are lost", who, why)};
    news_.push_back({.kind = HostNews::Kind::kBroken, .broken = breakage});
  }
  news_.push_back({.kind = HostNews::Kind::kOver, .exit_code = ended_ ? exit_code_ : cluster::kExitLeft});
}

void Follower::care() { lookout_.want(channel_, !channel_.flush()); }

void Follower::give(const NodeShares& shares) {
  channel_.send(FrameKind::kShares, std::span<const std::byte>(pack(shares)));
  care();
}

void Follower::finished() {
  channel_.send(FrameKind::kFinished, std::span<const std::byte>());
  care();
}

void Follower::broken(const Breakage& breakage) {
  channel_.send(FrameKind::kBroken, pack(breakage));
  care();
}

void Follower::ended(int exit_code) {
  ended_ = true;
  exit_code_ = exit_code;
  channel_.send(FrameKind::kEnded, Ended{exit_code});
  care();
}

}  // namespace dsm::hosts
