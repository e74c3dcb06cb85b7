// dsmrun's side of the control protocol: who joins as which node, who has finished, who must be told of a death.
// Runs in the supervising thread and never blocks. Nothing that a node sends can disturb the job: what is malformed is
// logged and dropped.
#pragma once

#include <string>
#include <vector>

#include "base/geometry.h"
#include "cluster/control.h"
#include "cluster/exchange.h"
#include "cluster/node_process.h"
#include "cluster/other_hosts.h"
#include "cluster/regions.h"

namespace dsm::cluster {

class Registrar {
 public:
  Registrar(const Geometry& geometry, NodeSet local, std::string same_options, const JobMemory& memory)
      : geometry_(geometry),
        local_(local),
        options_(std::move(same_options)),
        memory_(memory),
        exchange_(geometry.nodes) {}

  // A packet waits at the node's rendezvous. True if the node joined just now (its control socket is new).
  bool on_rendezvous(NodeProcess& node);
  // Reads everything that waits at the node's control socket. Sets `finished` and `lost_ns`.
  void on_control(NodeProcess& node);
  // Sends Welcomes, and answers to an exchange, that are due. True if some still are.
  bool send_due(std::vector<NodeProcess>& nodes);
  // Once every node has given: answers all. True if send_due() has something to do.
  bool end_exchange(std::vector<NodeProcess>& nodes);
  // Refuses those who have given if others have not for too long.
  void end_late_exchange(std::vector<NodeProcess>& nodes);
  // When end_late_exchange() is due; 0: not.
  std::int64_t exchange_due_ns() const;
  // What the other hosts are to be told: this host's shares, once all of its nodes have given. Once a round.
  NodeShares take_local_shares();
  // And what they have told: those of all nodes.
  void take_shares(Shares shares) { exchange_.give_all(std::move(shares)); }
  // Whether somebody waits for this node in an exchange.
  bool awaited(const NodeProcess& node) const { return exchange_.open() && !exchange_.has(node.node); }
  // The job's nodes are all through: tells those who wait.
  void tell_all_finished(std::vector<NodeProcess>& nodes);
  // Tells every node that runs, but for the one that did it; from then on nobody joins any more.
  void break_up(std::vector<NodeProcess>& nodes, const Breakage& breakage);

 private:
  bool admit(NodeProcess& node, Packet& packet);
  bool send_welcome(NodeProcess& node);
  bool send_shares(NodeProcess& node);
  void refuse_all(std::vector<NodeProcess>& nodes, const std::string& reason);
  std::string refusal(const NodeProcess& node, const Packet& packet) const;

  const Geometry geometry_;
  const NodeSet local_;
  const std::string options_;
  const JobMemory& memory_;
  Exchange exchange_;
  UniqueFd shares_;                // of the round that is over
  std::uint32_t rounds_told_ = 0;  // to the other hosts
  std::string broken_;             // why the job is breaking up; empty while it is not
};

}  // namespace dsm::cluster
