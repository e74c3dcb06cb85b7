// Transport over RDMA verbs (libibverbs): InfiniBand, RoCE, and soft-RoCE without a card. One-sided operations are the
// card's READ, WRITE, COMPARE_SWAP and FETCH_ADD on reliable connections; messages are SENDs into a shared receive
// queue. The other node's CPU has no part in execute(), except the first time that somebody uses a unit of its memory
// (verbs_keys.h).
//
// librdmacm says which device, port and GID belong to an address (verbs_address.h). Connections are made without it:
// the nodes of a job have a way to exchange a few bytes before they start (VerbsParams::exchange), once for all queue
// pairs and protected by the job's key, and over RoCE the kernel resolves a GID's route and hardware address when the
// queue pair is connected. What librdmacm would add, path records of an InfiniBand subnet manager (service levels), is
// not needed in a subnet whose paths are all of service level 0. iWARP connects through librdmacm only, but has no
// atomics and is refused for that.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "net/transport.h"

namespace dsm::net {

// A collective all-gather: every node calls it the same number of times; gives what all nodes passed, in node order.
// At most kMaxExchangeBytes a node and call.
using Exchange = std::function<Result<std::vector<std::vector<std::byte>>>(std::span<const std::byte> mine)>;

struct VerbsParams {
  NodeId self = 0;
  unsigned nodes = 1;
  int memory_fd = -1;              // this node's Region::kMemory
  int meta_fd = -1;                // this node's Region::kMeta
  std::uint64_t memory_bytes = 0;  // size of every kMemory region
  std::uint64_t meta_bytes = 0;    // size of every kMeta region
  // From this offset on neighbouring granules of kMemory belong to different nodes, so they are registered in small
  // units. Default: nowhere.
  std::uint64_t interleaved_from = ~std::uint64_t{0};
  Exchange exchange;

  std::string device;  // name, or names with commas: node i takes the i-th in turn; "": any
  // Where no device is named: the one that has this IP address of the host, with its port and GID, if one has it.
  std::string address;
  unsigned port = 0;                                   // 0: the first active one
  int gid_index = -1;                                  // -1: RoCE v2 and IPv4 where there is one
  std::int64_t dead_after_ms = 2000;                   // a node that does not answer for about so long is dead
  std::uint64_t lent_bytes = std::uint64_t{64} << 20;  // at the most so much lent memory is registered
};

Result<std::unique_ptr<Transport>> make_verbs_transport(const VerbsParams& params);

// What was posted so far, for tests and benchmarks.
struct VerbsCounters {
  std::uint64_t operations;  // one-sided work requests
  std::uint64_t chains;      // doorbells for them
  std::uint64_t registered;  // bytes of this node's regions that the card can reach
  std::uint64_t lent;        // bytes of lent memory that are registered
};
VerbsCounters verbs_counters(const Transport& transport);  // zero for other transports
// For tests: the queue pairs to that node go into the error state, as when the card gives one up. Any thread.
void verbs_break(Transport& transport, NodeId node);

}  // namespace dsm::net
