#include "hosts/host_zero.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/clock.h"
#include "cluster/control.h"
#include "cluster/endings.h"
#include "cluster/say.h"
#include "hosts/sockets.h"

namespace dsm::hosts {

using cluster::Obstacle;
using cluster::say;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kHelloNs = 10 * kSecond;  // what a guest has to say who it is
constexpr std::size_t kMaxGuests = 64;

}  // namespace

unsigned HostZero::missing() const {
  unsigned host = 1;
  while (host < plan_.hosts && present_[host]) ++host;
  return host;
}

tl::expected<Met, Obstacle> HostZero::run() {
  const auto addresses = resolve(plan_.rendezvous);
  if (!addresses) return tl::unexpected(Obstacle{cluster::kExitUsage, addresses.error()});
  auto listener = listen_at(**addresses, plan_.rendezvous);
  if (!listener) return tl::unexpected(Obstacle{cluster::kExitUnavailable, listener.error()});
  listener_ = std::move(*listener);
  const std::int64_t deadline_ns = now_ns() + plan_.wait_s * kSecond;
  while (missing() < plan_.hosts) {
    if (now_ns() >= deadline_ns) {
      return tl::unexpected(Obstacle{cluster::kExitUnavailable,
                                     fmt::format("host {} has not come within {} s; is dsmrun --host {} running there, "
                                                 "and can it reach {}?",
                                                 missing(), plan_.wait_s, missing(), plan_.rendezvous)});
    }
    wait(deadline_ns);
    accept_all();
    for (Guest& guest : guests_) hear(guest);
    guests_.remove_if([](const Guest& guest) { return guest.leaves || now_ns() >= guest.deadline_ns; });
    drop_those_who_left();
  }
  return welcome();
}

void HostZero::wait(std::int64_t deadline_ns) {
  std::vector<pollfd> polled{{listener_.get(), POLLIN, 0}};
  for (const Guest& guest : guests_) {
    polled.push_back({guest.channel.fd(), guest.channel.events(), 0});
    deadline_ns = std::min(deadline_ns, guest.deadline_ns);
  }
  for (const auto& host : present_) {
    if (host) polled.push_back({host->channel.fd(), POLLIN, 0});
  }
  const std::int64_t left_ms = (deadline_ns - now_ns()) / 1'000'000 + 1;
  ::poll(polled.data(), polled.size(), static_cast<int>(std::clamp<std::int64_t>(left_ms, 0, 60'000)));
}

void HostZero::accept_all() {
  for (;;) {
    cluster::UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    if (guests_.size() >= kMaxGuests) guests_.pop_front();  // the one that has been silent for longest
    std::string address = peer_of(socket.get());
    guests_.push_back({Channel(std::move(socket), key_, Side::kLeader, std::move(address)), now_ns() + kHelloNs});
    guests_.back().channel.challenge();
  }
}

void HostZero::hear(Guest& guest) {
  guest.channel.flush();
  Channel::Frame frame;
  switch (guest.channel.receive(frame)) {
    case Channel::Got::kNothing:
      return;
    case Channel::Got::kClosed:
      guest.leaves = true;
      return;
    case Channel::Got::kNonsense:
      return refuse(guest, Refused::Reason::kText, "", "what it sent is nothing that dsmrun says");
    case Channel::Got::kOtherVersion:
      return refuse(guest, Refused::Reason::kOtherVersion, "", "its dsmrun is of another version");
    case Channel::Got::kOtherKey:
      return refuse(guest, Refused::Reason::kOtherKey, "", "its key is not this job's");
    case Channel::Got::kFrame:
      break;
  }
  const Hello& hello = *frame.as<Hello>();  // the channel takes nothing else as the first frame
  const std::string text = objection(hello);
  if (!text.empty()) return refuse(guest, Refused::Reason::kText, text, text);
  guest.channel.allow_large();
  present_[hello.host].emplace(Present{std::move(guest.channel), hello.nodes});
  guest.leaves = true;
}

void HostZero::refuse(Guest& guest, Refused::Reason reason, const std::string& text, const std::string& why) {
  Refused refused{};
  refused.reason = reason;
  cluster::put_text(refused.text, text);
  guest.channel.send(FrameKind::kRefused, refused);
  guest.leaves = true;
  if (lines_left_ > 0) say("refused who came from {}: {}", guest.channel.address(), why);
  if (--lines_left_ == 0) say("further refusals will not be reported");
}

// "" if that host may join.
std::string HostZero::objection(const Hello& hello) const {
  if (hello.hosts != plan_.hosts) return fmt::format("--hosts is {} there and {} on host 0", hello.hosts, plan_.hosts);
  if (hello.host == 0 || hello.host >= plan_.hosts) {
    return fmt::format("--host must be from 1 to {} there, not {}", plan_.hosts - 1, hello.host);
  }
  if (present_[hello.host]) return fmt::format("there is a host {} already; each needs its own --host", hello.host);
  const std::string mismatch = cluster::options_mismatch(plan_.options, cluster::get_text(hello.options));
  if (!mismatch.empty()) return fmt::format("on host {}: {}", hello.host, mismatch);
  return objection_to_number(hello.nodes);
}

// Of nodes of the program on one more host.
std::string HostZero::objection_to_number(unsigned more) const {
  unsigned nodes = plan_.nodes, hosts = 2, lending = (plan_.nodes == 0) + (more == 0);
  for (const auto& host : present_) {
    if (!host) continue;
    nodes += host->nodes;
    ++hosts;
    lending += host->nodes == 0;
  }
  if (more > kMaxNodes || nodes + more + plan_.memory_nodes > kMaxNodes) {
    return fmt::format("with its {} nodes the job would have more than {}", more, kMaxNodes);
  }
  if (lending > plan_.memory_nodes) {
    return fmt::format("{} hosts have -n 0, which is to lend memory, and there are {} memory nodes (--memory-nodes)",
                       lending, plan_.memory_nodes);
  }
  return nodes + more == 0 && hosts == plan_.hosts ? "all hosts have -n 0: none is left to run the program" : "";
}

void HostZero::drop_those_who_left() {
  for (unsigned host = 1; host < plan_.hosts; ++host) {
    Channel::Frame frame;
    if (!present_[host] || present_[host]->channel.receive(frame) == Channel::Got::kNothing) continue;
    say("host {} ({}) has left again", host, present_[host]->channel.address());
    present_[host].reset();
  }
}

Met HostZero::welcome() {
  std::vector<unsigned> nodes{plan_.nodes};
  for (unsigned host = 1; host < plan_.hosts; ++host) nodes.push_back(present_[host]->nodes);
  Welcome welcome{};
  welcome.hosts = plan_.hosts;
  std::copy(nodes.begin(), nodes.end(), welcome.nodes);
  Met met{Places(nodes, plan_.memory_nodes), {}};
  for (unsigned host = 1; host < plan_.hosts; ++host) {
    present_[host]->channel.send(FrameKind::kWelcome, welcome);
    met.channels.push_back(std::move(present_[host]->channel));
  }
  return met;
}

}  // namespace dsm::hosts
