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
#include "cluster/regions.h"

namespace dsm::cluster {

class Registrar {
 public:
  Registrar(const Geometry& geometry, std::string same_options, const JobMemory& memory)
      : geometry_(geometry), options_(std::move(same_options)), memory_(memory), exchange_(geometry.nodes) {}

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
  // Whether somebody waits for this node in an exchange.
  bool awaited(const NodeProcess& node) const { return exchange_.open() && !exchange_.has(node.node); }
  // Once every node is through: tells all who wait.
  void tell_if_all_finished(std::vector<NodeProcess>& nodes);
  // Tells every node that runs of `dead`; from then on nobody joins any more.
  void break_up(std::vector<NodeProcess>& nodes, const NodeProcess& dead, const NodeEnd& end);

 private:
  bool admit(NodeProcess& node, Packet& packet);
  bool send_welcome(NodeProcess& node);
  bool send_shares(NodeProcess& node);
  void refuse_all(std::vector<NodeProcess>& nodes, const std::string& reason);
  std::string refusal(const NodeProcess& node, const Packet& packet) const;

  const Geometry geometry_;
  const std::string options_;
  const JobMemory& memory_;
  Exchange exchange_;
  UniqueFd shares_;     // of the round that is over
  std::string broken_;  // why the job is breaking up; empty while it is not
};

}  // namespace dsm::cluster
