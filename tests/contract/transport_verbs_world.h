#pragma once

#include <memory>
#include <vector>

#include "net/verbs_transport.h"
#include "tests/contract/transport_world.h"

namespace dsm::net::test {

class VerbsWorld : public World {
 public:
  VerbsWorld(unsigned nodes, std::uint64_t memory_bytes, std::uint64_t meta_bytes);
  ~VerbsWorld() override;
  std::unique_ptr<Transport> join(NodeId self) override;
  VerbsParams& params() { return params_; }  // for all nodes

 private:
  struct Desk {
    Meeting meeting;
    std::byte text[kMaxNodes][kMaxExchangeBytes];
    std::size_t bytes[kMaxNodes];
  };
  Result<std::vector<std::vector<std::byte>>> exchange(NodeId self, std::span<const std::byte> mine);

  VerbsParams params_;
  std::vector<int> memory_;
  std::vector<int> meta_;
  Shared<Desk> desk_;
};

}  // namespace dsm::net::test
