#include "cluster/registrar.h"

#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/clock.h"
#include "base/meta_layout.h"
#include "cluster/say.h"

namespace dsm::cluster {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kExchangeNs = 50 * kSecond;  // shorter than a node waits for an answer

// False if it must be tried again: the kernel bounds the descriptors that are on their way, and others just take
// theirs.
bool sent_or_lost(const Result<void>& sent, const NodeProcess& node, const char* what) {
  if (sent || sent.error().sys_errno == EPIPE) return true;  // EPIPE: it has ended
  if (sent.error().sys_errno == ETOOMANYREFS) return false;
  say("node {} (process {}) cannot be given {}: {}", node.node, node.joined_pid, what, describe(sent.error()));
  return true;
}

}  // namespace

bool Registrar::on_rendezvous(NodeProcess& node) {
  Packet packet;
  switch (receive(node.rendezvous.get(), packet, MSG_DONTWAIT)) {
    case Received::kNothing:
      return false;
    case Received::kClosed:
      node.rendezvous.reset();
      return false;
    case Received::kPacket:
      break;
  }
  return admit(node, packet);
}

std::string Registrar::refusal(const NodeProcess& node, const Packet& packet) const {
  if (packet.is_other_version()) {
    return "this program was built with another version of libdsm than dsmrun; use those of one version";
  }
  const Hello* hello = packet.as<Hello>();
  if (hello == nullptr) return "what it sent is no request to join";
  if (node.joined()) {
    return fmt::format(
        "process {} has already joined as node {}, and a node is one process; unset DSM_CONTROL_FD to make a job of "
        "its "
        "own of this one",
        node.joined_pid, node.node);
  }
  if (!node.alive()) return fmt::format("node {} has already ended", node.node);
  if (!broken_.empty()) return fmt::format("the job is breaking up: {}", broken_);
  return options_mismatch(options_, get_text(hello->options));
}

bool Registrar::admit(NodeProcess& node, Packet& packet) {
  if (packet.fds.size() != 1) {
    say("node {} (process {}): something that is no request to join came in; ignored", node.node, packet.sender);
    return false;
  }
  UniqueFd control = std::move(packet.fds.front());
  const std::string reason = refusal(node, packet);
  if (!reason.empty()) {
    auto refused = make_message<Refused>();
    put_text(refused.reason, reason);
    static_cast<void>(send_message(control.get(), refused, MSG_DONTWAIT));  // it may be gone: nobody left to tell
    return false;
  }
  node.joined_pid = packet.sender;
  node.control = std::move(control);
  node.welcome_due = !send_welcome(node);
  return true;
}

// False if it must be tried again.
bool Registrar::send_welcome(NodeProcess& node) {
  auto welcome = make_message<Welcome>();
  welcome.node = node.node;
  welcome.nodes = geometry_.nodes;
  welcome.base = geometry_.base;
  welcome.slice_bytes = geometry_.slice_bytes;
  welcome.interleaved_bytes = geometry_.interleaved_bytes;
  welcome.meta_bytes = meta_region_bytes(geometry_);
  welcome.local = local_;
  welcome.launcher_pid = ::getpid();
  const std::vector<int> fds = memory_.all();
  return sent_or_lost(send_message(node.control.get(), welcome, MSG_DONTWAIT, fds), node, "its memory");
}

bool Registrar::send_shares(NodeProcess& node) {
  auto exchanged = make_message<Exchanged>();
  exchanged.round = exchange_.round() - 1;
  exchanged.nodes = geometry_.nodes;
  const int fds[] = {shares_.get()};
  return sent_or_lost(send_message(node.control.get(), exchanged, MSG_DONTWAIT, fds), node, "what nodes exchanged");
}

bool Registrar::send_due(std::vector<NodeProcess>& nodes) {
  bool due = false;
  for (NodeProcess& node : nodes) {
    if (!node.alive() || !node.control) continue;
    if (node.welcome_due) node.welcome_due = !send_welcome(node);
    if (node.shares_due) node.shares_due = !send_shares(node);
    due = due || node.welcome_due || node.shares_due;
  }
  return due;
}

bool Registrar::end_exchange(std::vector<NodeProcess>& nodes) {
  if (!exchange_.complete() || !broken_.empty()) return false;
  auto shares = exchange_.finish();
  if (!shares) {
    refuse_all(nodes, describe(shares.error()));
    return false;
  }
  shares_ = std::move(*shares);
  for (NodeProcess& node : nodes) node.shares_due = true;
  return send_due(nodes);
}

std::int64_t Registrar::exchange_due_ns() const {
  return exchange_.open() && broken_.empty() ? exchange_.opened_ns() + kExchangeNs : 0;
}

void Registrar::end_late_exchange(std::vector<NodeProcess>& nodes) {
  std::string who = "a node of another host";
  for (const NodeProcess& node : nodes) {
    if (awaited(node)) who = fmt::format("node {} (pid {})", node.node, node.shown_pid());
  }
  refuse_all(nodes, fmt::format("{} has not come so far within {} s; is it stopped?", who, kExchangeNs / kSecond));
}

NodeShares Registrar::take_local_shares() {
  NodeShares taken;
  if (rounds_told_ > exchange_.round()) return taken;
  for (unsigned node = 0; node < geometry_.nodes; ++node) {
    if (!contains(local_, static_cast<NodeId>(node))) continue;
    if (!exchange_.has(node)) return {};
    taken.emplace_back(node, exchange_.share(node));
  }
  ++rounds_told_;
  return taken;
}

// From here on nothing but the end of the job is to come.
void Registrar::refuse_all(std::vector<NodeProcess>& nodes, const std::string& reason) {
  broken_ = reason;
  auto refused = make_message<Refused>();
  put_text(refused.reason, reason);
  for (NodeProcess& node : nodes) {
    if (node.control) static_cast<void>(send_message(node.control.get(), refused, MSG_DONTWAIT));  // it may be gone
  }
}

void Registrar::on_control(NodeProcess& node) {
  Packet packet;
  while (node.control) {
    switch (receive(node.control.get(), packet, MSG_DONTWAIT)) {
      case Received::kNothing:
        return;
      case Received::kClosed:
        node.control.reset();
        node.lost_ns = now_ns();
        return;
      case Received::kPacket:
        break;
    }
    if (packet.as<Finish>() != nullptr) {
      node.finished = true;
    } else if (const auto* contribution = packet.as<Contribution>(); contribution != nullptr && packet.fds.empty()) {
      const std::string wrong = exchange_.give(node.node, *contribution);
      if (!wrong.empty()) say("node {} (process {}): its exchange is ignored: {}", node.node, node.joined_pid, wrong);
    } else {
      say("node {} (process {}) sent something that is no message of a node; ignored", node.node, node.joined_pid);
    }
  }
}

void Registrar::tell_all_finished(std::vector<NodeProcess>& nodes) {
  for (NodeProcess& node : nodes) {
    if (!node.control || node.told_all_finished) continue;
    node.told_all_finished = true;
    static_cast<void>(send_message(node.control.get(), make_message<AllFinished>(), MSG_DONTWAIT));  // may have ended
  }
}

void Registrar::break_up(std::vector<NodeProcess>& nodes, const Breakage& breakage) {
  broken_ = breakage.sentence;
  auto notice = make_message<PeerDownNotice>();
  notice.node = breakage.node;
  notice.pid = breakage.pid;
  put_text(notice.how, breakage.how);
  for (NodeProcess& node : nodes) {
    if (!node.control || !node.alive() || node.node == breakage.node) continue;
    const auto sent = send_message(node.control.get(), notice, MSG_DONTWAIT);
    // EPIPE: it ends by itself. Anything else: SIGTERM will tell it.
    if (!sent && sent.error().sys_errno != EPIPE) {
      say("node {} cannot be told of the end of node {}: {}", node.node, breakage.node, describe(sent.error()));
    }
  }
}

}  // namespace dsm::cluster
