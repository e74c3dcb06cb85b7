#include "cluster/registrar.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/clock.h"
#include "base/meta_layout.h"
#include "cluster/say.h"

namespace dsm::cluster {

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
  welcome.launcher_pid = ::getpid();
  const std::vector<int> fds = memory_.all();
  const auto sent = send_message(node.control.get(), welcome, MSG_DONTWAIT, fds);
  if (sent) return true;
  // The kernel bounds the descriptors that are on their way; other nodes are just taking theirs.
  if (sent.error().sys_errno == ETOOMANYREFS) return false;
  say("node {} (process {}) cannot be given its memory: {}", node.node, node.joined_pid, describe(sent.error()));
  return true;
}

bool Registrar::send_due_welcomes(std::vector<NodeProcess>& nodes) {
  bool due = false;
  for (NodeProcess& node : nodes) {
    if (node.welcome_due && node.alive()) node.welcome_due = !send_welcome(node);
    due = due || (node.welcome_due && node.alive());
  }
  return due;
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
    } else {
      say("node {} (process {}) sent something that is no message of a node; ignored", node.node, node.joined_pid);
    }
  }
}

void Registrar::tell_if_all_finished(std::vector<NodeProcess>& nodes) {
  if (!broken_.empty()) return;
  for (const NodeProcess& node : nodes) {
    if (!node.through()) return;
  }
  for (NodeProcess& node : nodes) {
    if (!node.control || node.told_all_finished) continue;
    node.told_all_finished = true;
    static_cast<void>(send_message(node.control.get(), make_message<AllFinished>(), MSG_DONTWAIT));  // may have ended
  }
}

void Registrar::break_up(std::vector<NodeProcess>& nodes, const NodeProcess& dead, const NodeEnd& end) {
  broken_ = sentence(dead.node, dead.shown_pid(), end);
  auto notice = make_message<PeerDownNotice>();
  notice.node = dead.node;
  notice.pid = dead.shown_pid();
  put_text(notice.how, how_text(end));
  for (NodeProcess& node : nodes) {
    if (!node.control || !node.alive() || &node == &dead) continue;
    const auto sent = send_message(node.control.get(), notice, MSG_DONTWAIT);
    // EPIPE: it ends by itself. Anything else: SIGTERM will tell it.
    if (!sent && sent.error().sys_errno != EPIPE) {
      say("node {} cannot be told of the end of node {}: {}", node.node, dead.node, describe(sent.error()));
    }
  }
}

}  // namespace dsm::cluster
