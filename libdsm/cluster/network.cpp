#include "cluster/network.h"

#include <cstdlib>

#include "base/meta_layout.h"
#include "base/types.h"

namespace dsm::cluster {

net::VerbsParams verbs_params(const Config& config, Job& job) {
  const Geometry geometry = job.geometry();
  net::VerbsParams params;
  params.self = job.self();
  params.nodes = geometry.nodes;
  params.memory_fd = job.fds()[params.self].memory_fd;
  params.meta_fd = job.fds()[params.self].meta_fd;
  params.memory_bytes = geometry.memory_bytes();
  params.meta_bytes = meta_region_bytes(geometry);
  params.interleaved_from = geometry.interleaved_first() << kPageShift;
  params.exchange = [&job](std::span<const std::byte> mine) { return job.exchange(mine); };
  params.device = config.rdma_device;
  if (const char* const address = std::getenv("DSM_HOST_ADDRESS"); address != nullptr) params.address = address;
  params.port = static_cast<unsigned>(config.rdma_port);
  constexpr std::int64_t kAnyGid = 256;
  if (config.rdma_gid != kAnyGid) params.gid_index = static_cast<int>(config.rdma_gid);
  params.dead_after_ms = config.rdma_dead_ms;
  return params;
}

}  // namespace dsm::cluster
