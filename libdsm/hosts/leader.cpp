#include "hosts/leader.h"

#include <fmt/core.h>

#include <algorithm>

#include "cluster/control.h"
#include "cluster/endings.h"

namespace dsm::hosts {

using cluster::Breakage;
using cluster::HostNews;

Leader::Leader(Met met, Lookout lookout)
    : places_(std::move(met.places)),
      channels_(std::move(met.channels)),
      lookout_(std::move(lookout)),
      hosts_(places_.hosts()),
      shares_(places_.nodes()) {
  for (Channel& channel : channels_) {
    lookout_.add(channel);
    lookout_.want(channel, !channel.flush());  // the welcome may be on its way still
  }
}

template <typename... Payload>
void Leader::tell_all(FrameKind kind, const Payload&... payload) {
  for (unsigned host = 1; host < hosts_.size(); ++host) {
    if (hosts_[host].gone) continue;
    if constexpr (sizeof...(payload) == 0) {
      channel(host).send(kind, std::span<const std::byte>());
    } else {
      channel(host).send(kind, payload...);
    }
    lookout_.want(channel(host), !channel(host).flush());
  }
}

std::vector<HostNews> Leader::serve() {
  for (unsigned host = 1; host < hosts_.size(); ++host) serve(host);
  return std::exchange(news_, {});
}

void Leader::serve(unsigned host) {
  if (hosts_[host].gone) return;
  lookout_.want(channel(host), !channel(host).flush());
  Channel::Frame frame;
  for (;;) {
    switch (channel(host).receive(frame)) {
      case Channel::Got::kNothing:
        return;
      case Channel::Got::kFrame:
        if (take(host, frame)) continue;
        return lose(host, "has sent what makes no sense");
      case Channel::Got::kClosed:
        return lose(host, channel(host).why_closed());
      default:
        return lose(host, "has sent what makes no sense");
    }
  }
}

bool Leader::take(unsigned host, const Channel::Frame& frame) {
  switch (frame.kind) {
    case FrameKind::kShares: {
      auto shares = unpack(frame.payload, places_.of(host));
      if (!shares || hosts_[host].given) return false;
      take_shares(host, std::move(*shares));
      return true;
    }
    case FrameKind::kFinished:
      take_finished(host);
      return frame.payload.empty();
    case FrameKind::kBroken: {
      auto breakage = unpack(frame.as<Broken>(), places_.of(host));
      if (!breakage) return false;
      breakage->sentence = fmt::format("host {} ({}): {}", host, channel(host).address(), breakage->sentence);
      take_broken(host, *breakage);
      return true;
    }
    case FrameKind::kEnded: {
      const auto* ended = frame.as<Ended>();
      if (ended != nullptr) take_ended(host, ended->exit_code);
      return ended != nullptr;
    }
    default:
      return false;
  }
}

// A host that has ended may go. Of any other, the nodes are lost.
void Leader::lose(unsigned host, const std::string& why) {
  hosts_[host].gone = true;
  lookout_.drop(channel(host));
  if (hosts_[host].ended) return;
  const std::string who = fmt::format("host {} ({})", host, channel(host).address());
  take_broken(host, {places_.first_of(host), 0, cluster::kExitLeft, fmt::format("is lost: its {} {}", who, why),
                     fmt::format("{} {}; its nodes are lost", who, why)});
  take_ended(host, cluster::kExitLeft);
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): what is in it is moved on
void Leader::take_shares(unsigned host, NodeShares shares) {
  for (auto& [node, bytes] : shares) shares_[node] = std::move(bytes);
  hosts_[host].given = true;
  if (!std::all_of(hosts_.begin(), hosts_.end(), [](const Host& each) { return each.given; })) return;
  for (Host& each : hosts_) each.given = false;
  NodeShares all;
  for (unsigned node = 0; node < places_.nodes(); ++node) all.emplace_back(node, shares_[node]);
  tell_all(FrameKind::kShares, std::span<const std::byte>(pack(all)));
  news_.push_back({.kind = HostNews::Kind::kShares, .shares = shares_});
}

void Leader::take_finished(unsigned host) {
  hosts_[host].finished = true;
  if (broken_ || !std::all_of(hosts_.begin(), hosts_.end(), [](const Host& each) { return each.finished; })) return;
  tell_all(FrameKind::kFinished);
  news_.push_back({.kind = HostNews::Kind::kAllFinished});
}

// The first breakage is the job's; those that follow from it are not told.
void Leader::take_broken(unsigned host, const Breakage& breakage) {
  if (broken_) return;
  broken_ = true;
  exit_code_ = breakage.exit_code;
  tell_all(FrameKind::kBroken, pack(breakage));
  if (host != 0) news_.push_back({.kind = HostNews::Kind::kBroken, .broken = breakage});
}

void Leader::take_ended(unsigned host, int exit_code) {
  hosts_[host].ended = true;
  if (!broken_ && exit_code_ == 0) exit_code_ = exit_code;
  if (over_ || !std::all_of(hosts_.begin(), hosts_.end(), [](const Host& each) { return each.ended; })) return;
  over_ = true;
  tell_all(FrameKind::kOver, Ended{exit_code_});
  news_.push_back({.kind = HostNews::Kind::kOver, .exit_code = exit_code_});
}

void Leader::give(const NodeShares& shares) { take_shares(0, shares); }
void Leader::finished() { take_finished(0); }
void Leader::broken(const Breakage& breakage) {
  Breakage named = breakage;
  named.sentence = fmt::format("host 0: {}", breakage.sentence);
  take_broken(0, named);
}
void Leader::ended(int exit_code) { take_ended(0, exit_code); }

}  // namespace dsm::hosts
