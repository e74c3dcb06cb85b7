// dsm-memory-node: what dsmrun starts as a memory node. It joins the job, holds its share of the memory, and waits for
// the end; the program nodes read, write and lease that memory one-sided, so this process never runs meanwhile. (With
// transport verbs it registers units of its memory for the card, each when it is first used.)
#include <fmt/core.h>
#include <unistd.h>

#include <memory>

#include "base/config.h"
#include "base/log.h"
#include "cluster/endings.h"
#include "cluster/job.h"
#include "cluster/network.h"

namespace dsm::tools {
namespace {

// The job is over, well or not. Nothing of this node's outlives it.
void on_peer_down(const cluster::PeerDown&) { ::_exit(0); }

int lend() {
  const auto config = read_config();
  if (!config) return cluster::kExitUsage;  // said already, like all that follows
  if (::getenv("DSM_CONTROL_FD") == nullptr) {
    fmt::print(stderr, "dsm-memory-node: dsmrun --memory-nodes K starts this program; it does nothing by itself\n");
    return cluster::kExitUsage;
  }
  const auto job = cluster::join_job(*config);
  if (!job) return cluster::kExitUnavailable;
  set_log(static_cast<LogLevel>(config->log), (*job)->self());
  std::unique_ptr<net::Transport> transport;
  if (config->transport == "verbs") {
    auto made = net::make_verbs_transport(cluster::verbs_params(*config, **job));
    if (!made) {
      log(LogLevel::kError, "start", "{}", describe(made.error()));
      return cluster::kExitUnavailable;
    }
    transport = std::move(*made);
  }
  (*job)->watch(on_peer_down);
  return (*job)->finish(0) ? 0 : cluster::kExitUnavailable;
}

}  // namespace
}  // namespace dsm::tools

int main() { return dsm::tools::lend(); }
