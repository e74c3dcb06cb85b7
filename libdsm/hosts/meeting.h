// How the launchers of a job's hosts find each other: host 0 listens at the rendezvous address, the others connect, all
// prove that they have the job's key, and host 0 tells how many nodes each host has. Blocks, for a bounded time; no
// node has been started yet, so that whoever gives up leaves nothing behind.
#pragma once

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
  unsigned nodes;          // on this host
  std::string rendezvous;  // "10.5.0.1:7070", "[fd00::1]:7070", "name:7070"
  std::string options;     // those that must be the same on all nodes
  int wait_s;              // how long to wait for the other hosts
};

// Who is where: nodes are numbered host by host.
class Places {
 public:
  explicit Places(const std::vector<unsigned>& nodes);  // of each host

  unsigned hosts() const { return static_cast<unsigned>(sets_.size()); }
  unsigned nodes() const { return nodes_; }
  NodeSet of(unsigned host) const { return sets_[host]; }
  NodeSet all() const { return (NodeSet{1} << nodes_) - 1; }

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
