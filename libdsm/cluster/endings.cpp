#include "cluster/endings.h"

#include <fmt/core.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>

namespace dsm::cluster {

NodeEnd end_of(int wait_status) {
  if (WIFSIGNALED(wait_status)) return {EndKind::kSignalled, WTERMSIG(wait_status)};
  return {EndKind::kExited, WEXITSTATUS(wait_status)};
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("SIG{}", signal);
}

std::string how_text(const NodeEnd& end) {
  switch (end.kind) {
    case EndKind::kExited:
      return fmt::format("exited with status {}", end.value);
    case EndKind::kSignalled:
      return fmt::format("killed by signal {} ({})", end.value, signal_name(end.value));
    case EndKind::kLeft:
      return "left the job without finishing";
    case EndKind::kLost:
      return "closed its connection to dsmrun without finishing";
    case EndKind::kStuck:
      break;
  }
  return "does not end, not even by SIGKILL";
}

std::string sentence(unsigned node, int pid, const NodeEnd& end) {
  const std::string who = fmt::format("node {} (pid {})", node, pid);
  if (end.by_launcher) return fmt::format("{} was ended by dsmrun ({})", who, signal_name(end.value));
  return fmt::format("{} {}{}", who, end.kind == EndKind::kSignalled ? "was " : "", how_text(end));
}

int exit_code(const NodeEnd& end) {
  switch (end.kind) {
    case EndKind::kExited:
      return end.value;
    case EndKind::kSignalled:
      return 128 + end.value;
    case EndKind::kLeft:
    case EndKind::kLost:
      return kExitLeft;
    case EndKind::kStuck:
      break;
  }
  return kExitInternal;
}

}  // namespace dsm::cluster
