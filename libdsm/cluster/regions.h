// A job's shared memory: which memfds there are and how large. Made by the launcher, or by a job of one node for
// itself.
//
// 1. Everything is a sealed memfd: it has no name in the file system, vanishes with the last process that holds it,
//    and nobody can change its size under the others.
// 2. Sizes follow from the geometry alone, so both sides of a join can check them.
#pragma once

#include <string>
#include <vector>

#include "base/config.h"
#include "base/geometry.h"
#include "base/result.h"
#include "base/types.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

Geometry geometry_of(const Config& config, unsigned nodes);  // memory nodes included

// Whether an x86-64 process has the address space, whatever limits are set.
bool fits_processor(const Geometry& geometry);
// "" if a process of this machine can hold a node of that geometry, else a sentence that says what to do.
std::string address_space_complaint(const Geometry& geometry);
// Bytes of address space that a node maps.
std::uint64_t address_space_needed(const Geometry& geometry);

struct JobMemory {
  std::vector<UniqueFd> memory;  // one a node; none for those of other hosts
  std::vector<UniqueFd> meta;    // the same
  UniqueFd stats;                // a NodeStats per node

  std::vector<int> all() const;  // memory, meta, stats, without those that are not here: the order of Welcome
};

std::uint64_t meta_file_bytes(const Geometry& geometry);
std::uint64_t stats_file_bytes(unsigned nodes);

// REQUIRES: address_space_complaint(geometry) is "".
Result<JobMemory> make_job_memory(const Geometry& geometry, NodeSet local);

}  // namespace dsm::cluster
