#include "cluster/crew.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/clock.h"

namespace dsm::cluster {

// Where a node's standard streams lead. With one node of the program dsmrun is not in the way at all.
Result<Streams> Crew::streams_of(const NodeProcess& node, bool piped, std::vector<UniqueFd>& owned) {
  Streams streams{STDIN_FILENO, node.lends ? STDERR_FILENO : STDOUT_FILENO, STDERR_FILENO};
  if (piped) {
    auto ends = output_->add_node(node.node);
    if (!ends) return tl::unexpected(ends.error());
    streams.out = owned.emplace_back(std::move(ends->out)).get();
    streams.err = owned.emplace_back(std::move(ends->err)).get();
  }
  if (node.node > 0) {
    streams.in = owned.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get();
    if (streams.in < 0) return fail(Errc::kSystem, "cannot open /dev/null", errno);
  } else if (::isatty(STDIN_FILENO) == 1) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Errc::kSystem, "cannot make a pipe", errno);
    streams.in = owned.emplace_back(ends[0]).get();
    output_->set_input(TerminalInput(STDIN_FILENO, UniqueFd(ends[1])));
  }
  return streams;
}

Result<void> Crew::start_node(const Program& program, unsigned number, bool lends, bool piped) {
  NodeProcess node;
  node.node = number;
  node.lends = lends;
  std::vector<UniqueFd> owned;
  auto streams = streams_of(node, piped, owned);
  if (!streams) return tl::unexpected(streams.error());
  auto spawned = spawn(program, *streams, signals_);
  if (!spawned) return tl::unexpected(spawned.error());
  keeper_.watch_group(spawned->pid);
  node.pid = spawned->pid;
  node.rendezvous = std::move(spawned->rendezvous);
  nodes_.push_back(std::move(node));
  return {};
}

Result<void> Crew::start(const Program& program, const Program& lender, const Geometry& geometry, NodeSet local,
                         bool prefix) {
  auto output = Output::make(prefix);
  if (!output) return tl::unexpected(output.error());
  output_ = std::move(*output);
  nodes_.reserve(geometry.nodes);  // references to nodes stay good
  for (unsigned number = 0; number < geometry.nodes; ++number) {
    if (!contains(local, static_cast<NodeId>(number))) continue;
    const bool lends = number >= geometry.program_nodes();
    const auto started = start_node(lends ? lender : program, number, lends, geometry.program_nodes() > 1);
    if (started) continue;
    end_all(SIGKILL);
    for (const NodeProcess& node : nodes_) ::waitpid(node.pid, nullptr, 0);
    return started;
  }
  output_->start();
  return {};
}

bool Crew::any_alive() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const NodeProcess& node) { return node.alive(); });
}

bool Crew::any_program_alive() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const NodeProcess& node) { return node.alive() && !node.lends; });
}

// Whether a process of the node's group is left. A group's number is not given to others while it has members, so once
// it was seen empty it is never touched again.
bool Crew::group_left(NodeProcess& node) {
  if (node.group_gone) return false;
  if (::kill(-node.pid, 0) == 0 || errno != ESRCH) return true;
  node.group_gone = true;
  keeper_.forget_group(node.pid);
  return false;
}

bool Crew::any_group_left() {
  bool left = false;
  for (NodeProcess& node : nodes_) left = group_left(node) || left;
  return left;
}

std::optional<NodeEnd> Crew::ended_now(NodeProcess& node) {
  int status = 0;
  if (!node.alive() || ::waitpid(node.pid, &status, WNOHANG) != node.pid) return std::nullopt;
  group_left(node);
  NodeEnd end = end_of(status);
  end.by_launcher = end.kind == EndKind::kSignalled &&
                    ((end.value == SIGTERM && node.terminated) || (end.value == SIGKILL && node.killed));
  return end;
}

void Crew::forward(int signal) {
  const bool to_program = signal == SIGUSR1 || signal == SIGUSR2;
  const bool only_lends = std::all_of(nodes_.begin(), nodes_.end(), [](const NodeProcess& node) { return node.lends; });
  for (const NodeProcess& node : nodes_) {
    if (!node.alive() || (node.lends && (!only_lends || to_program))) continue;
    ::kill(to_program ? node.program() : -node.pid, signal);
  }
}

void Crew::end_node(NodeProcess& node, int signal) {
  if (node.group_gone) return;
  (signal == SIGKILL ? node.killed : node.terminated) = true;
  ::kill(-node.pid, signal);
}

void Crew::end_all(int signal) {
  for (NodeProcess& node : nodes_) end_node(node, signal);
}

bool Crew::end_leftovers(int patience_ms) {
  if (!any_group_left()) return false;
  end_all(SIGTERM);
  const std::int64_t deadline = now_ns() + std::int64_t{patience_ms} * 1'000'000;
  while (any_group_left() && now_ns() < deadline) ::poll(nullptr, 0, 10);
  end_all(SIGKILL);
  return true;
}

}  // namespace dsm::cluster
