// The processes of a job: starts them, signals them, sees them end. Runs in the supervising thread.
#pragma once

#include <memory>
#include <vector>

#include "base/geometry.h"
#include "base/result.h"
#include "cluster/keeper.h"
#include "cluster/launch.h"
#include "cluster/node_process.h"
#include "cluster/output.h"
#include "cluster/signal_desk.h"

namespace dsm::cluster {

class Crew {
 public:
  Crew(const SignalDesk& signals, Keeper& keeper) : signals_(signals), keeper_(keeper) {}

  // Starts all of this host's nodes or none: those of the program, then those that lend memory. Their output gets a
  // prefix only if there are several of the program.
  Result<void> start(const Program& program, const Program& lender, const Geometry& geometry, NodeSet local,
                     bool prefix);

  std::vector<NodeProcess>& nodes() { return nodes_; }
  bool any_alive() const;
  bool any_program_alive() const;

  // Notes the end of every node that has ended since the last time; `ended` is called before `end` is set.
  template <typename Ended>
  void reap(Ended&& ended) {
    for (NodeProcess& node : nodes_) {
      if (const auto end = ended_now(node)) {
        ended(node);
        node.end = end;
      }
    }
  }

  // Hands on what dsmrun's user has sent: what ends a program to everything that the node has started, as from a
  // terminal; SIGUSR1 and SIGUSR2 to the program itself, not to a script around it. Memory nodes end with the
  // program's, unless those are on other hosts.
  void forward(int signal);
  // dsmrun's own accord: SIGTERM or SIGKILL to everything that nodes have started.
  void end_node(NodeProcess& node, int signal);
  void end_all(int signal);
  // All nodes have ended: ends what they have left behind. True if there was something.
  bool end_leftovers(int patience_ms);
  // Writes what is left of the nodes' output. May block on dsmrun's own.
  void flush_output() { output_->finish(); }

 private:
  Result<void> start_node(const Program& program, unsigned number, bool lends, bool piped);
  Result<Streams> streams_of(const NodeProcess& node, bool piped, std::vector<UniqueFd>& owned);
  std::optional<NodeEnd> ended_now(NodeProcess& node);
  bool group_left(NodeProcess& node);
  bool any_group_left();

  const SignalDesk& signals_;
  Keeper& keeper_;
  std::unique_ptr<Output> output_;
  std::vector<NodeProcess> nodes_;
};

}  // namespace dsm::cluster
