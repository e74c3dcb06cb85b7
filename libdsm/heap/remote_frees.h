// Frees of other nodes' blocks, gathered per home so that one message carries many. Allocates nothing.
//
// The caller sends what add() and take() hand out, in any order. As with free() itself, no call from a signal handler.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/futex.h"
#include "base/types.h"

namespace dsm::heap {

inline constexpr std::size_t kFreesPerBatch = 24;

struct FreeBatch {
  std::uint32_t count = 0;
  std::array<std::uint64_t, kFreesPerBatch> blocks;  // addresses; the first `count` are set

  std::span<const std::uint64_t> used() const { return {blocks.data(), count}; }
};

class RemoteFrees {
 public:
  // Keeps `block` for `home`. When that fills a batch: the batch, which is no longer kept.
  std::optional<FreeBatch> add(NodeId home, void* block);
  // What is kept for `home`, however little: count is 0 if nothing. It is no longer kept.
  FreeBatch take(NodeId home);
  // The nodes for which something may be kept. A block whose add() has returned is kept or has been handed out.
  NodeSet waiting() const { return waiting_.load(std::memory_order_acquire); }

 private:
  struct alignas(64) Destination {
    FutexLock lock;
    FreeBatch batch;
  };

  FreeBatch take_locked(NodeId home, Destination& destination);

  // Bit n is set exactly when destinations_[n].batch is not empty; changed under that destination's lock.
  std::atomic<NodeSet> waiting_{0};
  std::array<Destination, kMaxNodes> destinations_;
};

}  // namespace dsm::heap
