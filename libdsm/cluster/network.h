// What a node's verbs transport is made from: the job's memory and its way to exchange a few bytes. The same for nodes
// that run a program and for memory nodes.
#pragma once

#include "base/config.h"
#include "cluster/job.h"
#include "net/verbs_transport.h"

namespace dsm::cluster {

// The job has to outlive its use, which comes before watch().
net::VerbsParams verbs_params(const Config& config, Job& job);

}  // namespace dsm::cluster
