#include "hosts/meeting.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "cluster/control.h"
#include "cluster/endings.h"
#include "hosts/follower.h"
#include "hosts/host_zero.h"
#include "hosts/leader.h"
#include "hosts/sockets.h"

namespace dsm::hosts {

using cluster::Obstacle;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr int kAttemptMs = 3000;
constexpr int kAgainMs = 200;

tl::unexpected<Obstacle> unavailable(std::string text) {
  return tl::unexpected(Obstacle{cluster::kExitUnavailable, std::move(text)});
}

// Host 0 may be started later than this one, so it is tried again until the time is over.
tl::expected<Channel, Obstacle> reach_host_zero(const Plan& plan, const JobKey& key) {
  const auto addresses = resolve(plan.rendezvous);
  if (!addresses) return tl::unexpected(Obstacle{cluster::kExitUsage, addresses.error()});
  const std::int64_t deadline_ns = now_ns() + plan.wait_s * kSecond;
  for (;;) {
    cluster::UniqueFd socket;
    const std::int64_t left_ms = (deadline_ns - now_ns()) / 1'000'000;
    const int error =
        connect_to(**addresses, static_cast<int>(std::clamp<std::int64_t>(left_ms, 1, kAttemptMs)), socket);
    if (error == 0) return Channel(std::move(socket), key, Side::kFollower, plan.rendezvous);
    if (now_ns() + kAgainMs * 1'000'000 >= deadline_ns) {
      return unavailable(
          fmt::format("cannot reach host 0 at {} within {} s ({}); is dsmrun --host 0 running there, and "
                      "does a firewall let it through?",
                      plan.rendezvous, plan.wait_s, ::strerror(error)));
    }
    ::poll(nullptr, 0, kAgainMs);
  }
}

std::string refusal(const Channel::Frame& frame, const std::string& who) {
  const auto* refused = frame.as<Refused>();
  if (refused != nullptr && refused->reason == Refused::Reason::kOtherVersion) {
    return fmt::format("{} has a dsmrun of another version; use one version on all hosts", who);
  }
  if (refused != nullptr && refused->reason == Refused::Reason::kOtherKey) {
    return fmt::format("{} has another key; copy its --key-file to this host", who);
  }
  if (refused == nullptr || !frame.tagged) return fmt::format("{} has refused this host", who);
  return fmt::format("{} has refused this host: {}", who, cluster::get_text(refused->text));
}

std::string complaint(Channel::Got got, const Channel& channel, const std::string& who) {
  switch (got) {
    case Channel::Got::kClosed:
      return fmt::format("{} {} before the job began; see what it says", who, channel.why_closed());
    case Channel::Got::kOtherVersion:
      return fmt::format("{} has a dsmrun of another version; use one version on all hosts", who);
    case Channel::Got::kOtherKey:
      return fmt::format("{} does not have this host's key; use one --key-file on all hosts", who);
    default:
      return fmt::format("what answers at {} is no dsmrun", channel.address());
  }
}

// The next frame, which must be of that kind. `deadline_ns` 0: host 0 watches the time.
tl::expected<Channel::Frame, Obstacle> next_frame(Channel& channel, FrameKind kind, std::int64_t deadline_ns) {
  const std::string who = fmt::format("host 0 ({})", channel.address());
  Channel::Frame frame;
  for (;;) {
    const Channel::Got got = channel.receive(frame);
    if (got == Channel::Got::kFrame && frame.kind == FrameKind::kRefused) return unavailable(refusal(frame, who));
    if (got == Channel::Got::kFrame && frame.kind == kind) return frame;
    if (got != Channel::Got::kNothing) return unavailable(complaint(got, channel, who));
    const std::int64_t left_ms =
        deadline_ns == 0 ? -1 : std::max<std::int64_t>(0, (deadline_ns - now_ns()) / 1'000'000);
    if (left_ms == 0)
      return unavailable(fmt::format("what listens at {} says nothing; is it dsmrun?", channel.address()));
    channel.flush();
    pollfd polled{channel.fd(), channel.events(), 0};
    ::poll(&polled, 1, static_cast<int>(left_ms));
  }
}

tl::expected<Met, Obstacle> visit(const Plan& plan, const JobKey& key) {
  auto channel = reach_host_zero(plan, key);
  if (!channel) return tl::unexpected(channel.error());
  const auto challenged = next_frame(*channel, FrameKind::kChallenge, now_ns() + plan.wait_s * kSecond);
  if (!challenged) return tl::unexpected(challenged.error());
  const auto* challenge = challenged->as<Challenge>();
  if (challenge == nullptr) return unavailable(fmt::format("what answers at {} is no dsmrun", plan.rendezvous));
  Hello hello{make_nonce(), plan.hosts, plan.host, plan.nodes, 0, {}};
  if (plan.options.size() >= sizeof hello.options) return unavailable("a DSM_* variable is too long; shorten it");
  cluster::put_text(hello.options, plan.options);
  channel->begin_session(challenge->nonce, hello.nonce);
  channel->send(FrameKind::kHello, hello);
  const auto welcomed = next_frame(*channel, FrameKind::kWelcome, 0);
  if (!welcomed) return tl::unexpected(welcomed.error());
  const auto* welcome = welcomed->as<Welcome>();
  std::uint64_t nodes = plan.memory_nodes;
  if (welcome != nullptr && welcome->hosts == plan.hosts) {
    for (unsigned host = 0; host < welcome->hosts; ++host) nodes += welcome->nodes[host];
  }
  if (welcome == nullptr || welcome->hosts != plan.hosts || nodes > kMaxNodes ||
      welcome->nodes[plan.host] != plan.nodes) {
    return unavailable(
        fmt::format("what host 0 ({}) has sent makes no sense; use one version on all hosts", plan.rendezvous));
  }
  channel->allow_large();
  Met met{Places({welcome->nodes, welcome->nodes + welcome->hosts}, plan.memory_nodes), {}};
  met.channels.push_back(std::move(*channel));
  return met;
}

}  // namespace

Places::Places(const std::vector<unsigned>& program_nodes, unsigned memory_nodes) : sets_(program_nodes.size()) {
  std::vector<std::size_t> lending;
  for (std::size_t host = 0; host < program_nodes.size(); ++host) {
    for (unsigned i = 0; i < program_nodes[host]; ++i) sets_[host] |= node_bit(static_cast<NodeId>(nodes_++));
    if (program_nodes[host] == 0) lending.push_back(host);
  }
  for (unsigned i = 0; i < memory_nodes; ++i) {
    const std::size_t host = lending.empty() ? i % sets_.size() : lending[i % lending.size()];
    sets_[host] |= node_bit(static_cast<NodeId>(nodes_++));
  }
}

tl::expected<Met, Obstacle> meet(const Plan& plan, const JobKey& key) {
  return plan.host == 0 ? HostZero(plan, key).run() : visit(plan, key);
}

tl::expected<std::unique_ptr<cluster::OtherHosts>, Obstacle> make_other_hosts(unsigned host, Met met) {
  cluster::UniqueFd events(::epoll_create1(EPOLL_CLOEXEC));
  if (!events) {
    return tl::unexpected(cluster::obstacle_of({Errc::kSystem, errno, "cannot make an event descriptor"}));
  }
  Lookout lookout(std::move(events));
  if (host == 0) return std::make_unique<Leader>(std::move(met), std::move(lookout));
  return std::make_unique<Follower>(std::move(met), std::move(lookout));
}

}  // namespace dsm::hosts
