// How a process comes to be a node of a job, learns of the others' end, and leaves.
//
// `dsmrun` makes the memfds and a socket pair for each node, starts the nodes, and watches them. A node finds its end
// of the socket in DSM_CONTROL_FD and receives over it who it is and every descriptor it needs; nothing has a name in
// the file system, so nothing can be left behind. A process started without dsmrun is a job of one node of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/geometry.h"
#include "base/result.h"
#include "base/types.h"

namespace dsm::cluster {

struct NodeFds {  // -1 for a node of another host
  int memory_fd;
  int meta_fd;
};

struct PeerDown {
  NodeId node;
  int pid;
  const char* how;  // "killed by signal 9 (SIGKILL)", "exited with status 3"
};

class Job {
 public:
  virtual ~Job() = default;
  virtual NodeId self() const = 0;
  virtual const Geometry& geometry() const = 0;
  virtual const std::vector<NodeFds>& fds() const = 0;
  virtual int stats_fd() const = 0;  // a NodeStats per node
  virtual std::uint64_t meta_bytes() const = 0;

  // All nodes together, each with some bytes of its own: gives those of all, in node order. Before watch(), as often as
  // all nodes do it. kPeerDown if a node ends meanwhile, kTimeout if one does not come within a minute; the log names
  // it. REQUIRES: mine.size() <= kMaxExchangeBytes (4096).
  virtual Result<std::vector<std::vector<std::byte>>> exchange(std::span<const std::byte> mine) = 0;

  // Starts the thread that listens to the launcher. `on_peer_down` runs on it when a node died or the launcher did
  // (node == kNoNode). Once, and before finish(). When dsmrun has died the callback is to end the process; if it has
  // not done so a second after its return, the job does.
  virtual void watch(std::function<void(const PeerDown&)> on_peer_down) = 0;
  // Tells the launcher that this node's program is through and waits until all are (at the most `timeout_ms`; 0: for
  // ever). False on timeout or if the job is breaking up.
  virtual bool finish(std::int64_t timeout_ms) = 0;
};

// Joins the job that this process was started for, or makes one of a single node. Region sizes follow from the
// configuration (base/geometry.h, base/meta_layout.h) on both sides.
Result<std::unique_ptr<Job>> join_job(const Config& config);

}  // namespace dsm::cluster
