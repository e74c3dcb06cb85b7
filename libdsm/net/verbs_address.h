// Which RDMA device has an IP address of this host: what librdmacm knows, for RoCE with its bonds and VLANs, and for
// IPoIB. Loaded for that alone; without it devices are found by their names or their order.
#pragma once

#include <infiniband/verbs.h>

#include <optional>
#include <string>

namespace dsm::net::verbs {

struct Place {
  std::string device;
  std::uint8_t port;
  ibv_gid gid;
};

// Nothing if no device has it, or librdmacm is not here; the log (level 2) says which.
std::optional<Place> place_of(const std::string& address);

}  // namespace dsm::net::verbs
