// The transports that run on every machine.
#include "tests/contract/transport_world.h"

namespace dsm::net::test {

const std::vector<WorldKind>& world_kinds() {
  static const std::vector<WorldKind> kinds = {
      {"shm", [](unsigned nodes) { return make_shm_world(nodes, ""); }},
      {"shm_as_rdma", [](unsigned nodes) { return make_shm_world(nodes, "rdma"); }},
  };
  return kinds;
}

}  // namespace dsm::net::test
