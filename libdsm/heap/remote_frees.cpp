#include "heap/remote_frees.h"

#include <mutex>

#include "base/check.h"

namespace dsm::heap {

std::optional<FreeBatch> RemoteFrees::add(NodeId home, void* block) {
  DSM_CHECK(home < kMaxNodes, "there is no node {}", home);
  Destination& destination = destinations_[home];
  const std::scoped_lock locked(destination.lock);
  FreeBatch& batch = destination.batch;
  batch.blocks[batch.count++] = reinterpret_cast<std::uint64_t>(block);
  if (batch.count == kFreesPerBatch) return take_locked(home, destination);
  if (batch.count == 1) waiting_.fetch_or(node_bit(home), std::memory_order_release);
  return std::nullopt;
}

FreeBatch RemoteFrees::take(NodeId home) {
  DSM_CHECK(home < kMaxNodes, "there is no node {}", home);
  Destination& destination = destinations_[home];
  const std::scoped_lock locked(destination.lock);
  return take_locked(home, destination);
}

FreeBatch RemoteFrees::take_locked(NodeId home, Destination& destination) {
  FreeBatch taken = destination.batch;
  destination.batch.count = 0;
  waiting_.fetch_and(~node_bit(home), std::memory_order_release);
  return taken;
}

}  // namespace dsm::heap
