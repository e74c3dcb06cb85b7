// How the launchers of a job's hosts find each other: host 0 listens at the rendezvous address, the others connect, all
// prove that they have the job's key, and host 0 tells how many nodes each host has. Blocks, for a bounded time; no
// node has been started yet, so that whoever gives up leaves nothing behind.
#pragma once

#include <bit>
#include <memory>
#include <string>
#include <vector>

#include "base/types.h"
#include "cluster/other_hosts.h"
#include "cluster/preflight.h"
#include "hosts/channel.h"
#include "hosts/job_key.h"

namespace dsm::hosts {

struct Plan {
  unsigned hosts;
  unsigned host;
  unsigned nodes;          // of the program, on this host; 0: it lends memory only
  unsigned memory_nodes;   // of the job
  std::string rendezvous;  // "10.5.0.1:7070", "[fd00::1]:7070", "name:7070"
  std::string options;     // those that must be the same on all nodes
  int wait_s;              // how long to wait for the other hosts
};

// Who is where: the program's nodes are numbered host by host, and after them the memory nodes. Those are dealt out in
// turn to the hosts that run no node of the program; if all do, to all hosts. Every host has a node of some kind.
class Places {
 public:
  Places(const std::vector<unsigned>& program_nodes, unsigned memory_nodes);  // the former of each host

  unsigned hosts() const { return static_cast<unsigned>(sets_.size()); }
  unsigned nodes() const { return nodes_; }
  NodeSet of(unsigned host) const { return sets_[host]; }
  NodeSet all() const { return (NodeSet{1} << nodes_) - 1; }
  unsigned first_of(unsigned host) const { return static_cast<unsigned>(std::countr_zero(sets_[host])); }

 private:
  std::vector<NodeSet> sets_;
  unsigned nodes_ = 0;
};

struct Met {
  Places places;
  std::vector<Channel> channels;  // on host 0: to hosts 1, 2, ...; elsewhere the one to host 0
};

// `key` lives as long as the channels.
tl::expected<Met, cluster::Obstacle> meet(const Plan& plan, const JobKey& key);

// What the supervisor talks to from then on: leader.cpp on host 0, follower.cpp elsewhere.
tl::expected<std::unique_ptr<cluster::OtherHosts>, cluster::Obstacle> make_other_hosts(unsigned host, Met met);

}  // namespace dsm::hosts
