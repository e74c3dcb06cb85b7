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
  // How many chunks have been lent so far, and whether this node has leased that one.
  std::uint64_t lent();
  bool is_own(std::uint64_t chunk) const;
  // In a forked child, which leases nothing: addresses from the end of the lent memory, for private memory of its own.
  std::optional<PageId> take_for_child(std::uint64_t chunks, std::uint64_t alignment);
  // Whose chunk that page of the lent memory is in; kNoNode: nobody's.
  NodeId lessee(PageId page);

 private:
  std::optional<std::uint64_t> take(std::uint64_t chunks, std::uint64_t alignment);
  std::uint64_t execute(net::Op operation);  // an atomic's old value

  Node& node_;
  const NodeId keeper_;         // the first memory node
  const std::uint64_t chunks_;  // that may be lent
  std::uint64_t child_end_;     // chunks from here on are taken, in a forked child
  // What is known of the lessees: node + 1; 0: not known.
  const std::unique_ptr<std::atomic<std::uint8_t>[]> known_;
};

}  // namespace dsm::runtime
