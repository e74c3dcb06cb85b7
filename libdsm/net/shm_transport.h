// Transport between processes of one host: every node's regions are memfds that all nodes map; one-sided operations
// are CPU loads, stores and atomics; messages go through rings in the receiver's kMeta memfd (shm_wire.h). A node that
// has no others has its kMeta in memory of its own.
//
// `emulate` adds a network's cost to what goes to other nodes; operations on the own node stay as fast as they are.
//            chain, there and back   bandwidth of a chain        message, from send() to delivery
//   rdma     2000 ns                 5000 bytes/us (40 Gb/s)     2500 ns
//   tcp      25000 ns                1100 bytes/us (8.8 Gb/s)    25000 ns
// A chain costs its round trip once, however many operations it has, plus its bytes over the bandwidth, and its thread
// spins meanwhile. Links are not shared: two threads' chains do not slow each other down.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/transport.h"

namespace dsm::net {

struct ShmNode {
  int memory_fd;  // Region::kMemory
  int meta_fd;    // Region::kMeta, followed by the node's mailbox (see shm_meta_file_bytes)
};

struct ShmParams {
  NodeId self = 0;
  std::vector<ShmNode> nodes;
  std::uint64_t memory_bytes = 0;  // size of every kMemory region
  std::uint64_t meta_bytes = 0;    // size of every kMeta region as the runtime sees it
  std::string emulate;             // "", "rdma", "tcp" or "latency_ns:bytes_per_us:message_ns", see above
};

// How large a meta memfd must be so that the transport's rings fit behind `meta_bytes`.
std::uint64_t shm_meta_file_bytes(std::uint64_t meta_bytes, unsigned nodes);

// Maps everything (the descriptors may be closed afterwards).
Result<std::unique_ptr<Transport>> make_shm_transport(const ShmParams& params);

}  // namespace dsm::net
