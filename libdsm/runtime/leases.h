// The lent memory: chunks of the memory nodes that program nodes have leased. A lease is for the job's life. Everything
// here is one-sided operations on the first memory node's meta region (base/meta_layout.h); no CPU of it is needed.
//
// 1. Chunks are lent in order, by compare-and-swap on the number of those that have been lent.
// 2. A chunk's lessee is written before anybody can know its address, and never changes.
// Any thread, under jemalloc's locks too: nothing is allocated. lessee() is safe in signal context.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/types.h"
#include "net/transport.h"

namespace dsm::runtime {

struct Node;

class Leases {
 public:
  explicit Leases(Node& node);

  // The first page of `chunks` consecutive chunks, aligned to `alignment` chunks (a power of two), which are this
  // node's from now on. Nothing if so much is not left.
  std::optional<PageId> lease(std::uint64_t chunks, std::uint64_t alignment);
  // Counts chunks of the interleaved region as lent. False if so much is not left.
  bool charge(std::uint64_t chunks);
  // Whose chunk that page of the lent memory is in; kNoNode: nobody's.
  NodeId lessee(PageId page);

 private:
  std::optional<std::uint64_t> take(std::uint64_t chunks, std::uint64_t alignment);
  std::uint64_t execute(net::Op operation);  // an atomic's old value

  Node& node_;
  const NodeId keeper_;         // the first memory node
  const std::uint64_t chunks_;  // that may be lent
  // What is known of the lessees: node + 1; 0: not known.
  const std::unique_ptr<std::atomic<std::uint8_t>[]> known_;
};

}  // namespace dsm::runtime
