// A node's application view of the global range, and the life of its chunks.
//
//   own slice, chunk unused     reserved, inaccessible
//   own slice, chunk private    ordinary anonymous memory: native speed, no faults of ours
//   own slice, chunk shared     the node's memfd (same offset as in the service view), every page inaccessible at first
//   everything else             the node's memfd from the start: the pages homed elsewhere are cached there
//
// A chunk goes unused -> private (heap growth) -> shared (another node asked), never back while the job runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/geometry.h"
#include "base/result.h"
#include "mem/fault_engine.h"

namespace dsm::mem {

enum class ChunkState : std::uint8_t { kUnused, kPrivate, kSharing, kShared };

class AddressSpace {
 public:
  virtual ~AddressSpace() = default;

  virtual ChunkState state(PageId page) const = 0;  // safe in signal context; pages outside the own slice: kShared

  // Turns unused chunks of the own slice private: anonymous, zero, readable and writable. `first` is chunk-aligned.
  virtual Result<void> open_private(PageId first, std::uint64_t chunks) = 0;

  // Private -> shared under the running program: stops access, moves the bytes into the memfd, calls `publish` (the
  // pages are then readable through the service view and nobody can touch them through the application view), and lets
  // waiting threads go on. One caller wins, the others wait for it. False if the chunk is unused.
  // Not for signal context.
  virtual bool share(PageId page, const std::function<void(PageId first_of_chunk)>& publish) = 0;

  // Waits while the chunk is kSharing (a thread that faulted there). Safe in signal context.
  virtual void wait_shared(PageId page) = 0;
};

// Maps the application view. `memory_fd` is this node's Region::kMemory memfd.
Result<std::unique_ptr<AddressSpace>> make_address_space(const Geometry& geometry, NodeId self, int memory_fd,
                                                         std::byte* service, FaultEngine& engine);

}  // namespace dsm::mem
