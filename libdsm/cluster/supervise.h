// Runs one job, or one host's part of it, from its first process to its last: the heart of dsmrun.
//
// A job breaks up with the first node that ends badly. Then the others are told and have kGraceMs to end by themselves,
// get SIGTERM, and kTerminateMs later SIGKILL. The same happens to what nodes have started and left behind, once all
// nodes have ended.
#pragma once

#include <string>

#include "base/config.h"
#include "base/geometry.h"
#include "base/types.h"
#include "cluster/launch.h"
#include "cluster/other_hosts.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

struct JobSpec {
  Config config;
  Geometry geometry;
  Program program;
  Program lender;               // what a memory node runs
  bool prefix = true;           // put "[node] " before each line of output, if there is more than one node
  NodeSet local = 0;            // the nodes of this host
  OtherHosts* hosts = nullptr;  // those that the other nodes are on; nullptr: all are here
};

struct JobOutcome {
  int exit_code;
  UniqueFd stats;  // the counters as they were at the end; none if the job could not be started
};

// Blocks until every node, of all hosts, has ended. What is to be said to the user has been said on stderr.
JobOutcome run_job(const JobSpec& spec);

}  // namespace dsm::cluster
