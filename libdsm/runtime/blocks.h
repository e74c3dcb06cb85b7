// Allocation and free of memory homed anywhere: what is homed here goes to the heap, the rest to the home's service
// thread. Frees of other nodes' blocks travel in batches. With memory nodes a block's home and the node whose heap
// keeps it, the lessee of its chunk, are two.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "base/types.h"
#include "heap/heap.h"
#include "heap/remote_frees.h"
#include "runtime/calls.h"

namespace dsm::runtime {

struct Node;

struct Place {
  enum class Kind : std::uint8_t { kNode, kInterleaved } kind;
  NodeId node;
  heap::Kind blocks =
      heap::Kind::kRaw;  // kNode: or kApart, which is as good as possible: raw when the node's are used up
};

// The interleaved region, kept by node 0's service thread: first fit over granules of 64 KiB.
class Granules {
 public:
  explicit Granules(std::uint64_t granules) : granules_(granules) {}
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  // The first granule of a run of `count`; `fresh`: never used before, so surely zero. kNone when there is none.
  std::uint64_t take(std::uint64_t count, bool fresh);
  bool give(std::uint64_t first);  // false if no block begins there
  std::uint64_t ever_used() const { return next_; }
  // Undoes a take() that made `ever_used` grow.
  void take_back(std::uint64_t first, std::uint64_t ever_used);
  std::uint64_t size(std::uint64_t first) const;  // in granules; 0 if no block begins there

 private:
  std::uint64_t granules_;
  std::uint64_t next_ = 0;                       // never used from here on
  std::map<std::uint64_t, std::uint64_t> used_;  // first -> count
  std::map<std::uint64_t, std::uint64_t> free_;  // likewise, neighbours merged
};

class Blocks {
 public:
  explicit Blocks(Node& node);

  // nullptr when memory is used up or the arguments make no sense. `fresh`: interleaved memory that is zero.
  void* allocate(std::size_t bytes, std::size_t alignment, Place place, bool fresh = false);
  void release(void* block);
  void* resize(void* block, std::size_t bytes);
  std::size_t usable_size(const void* block);
  bool is_here(const void* block) const { return owner(block, "realloc") == Owner::kHere; }

  // The address is in memory of this node's heap.
  bool kept_here(std::uint64_t address) const;

  // Sends what is left in the batches.
  void flush();
  // A block whose objects nobody has anything of any more; on any thread.
  void give_back(void* block);
  // From the service thread: blocks that another node has freed; at node 0 also interleaved ones that are free.
  void on_frees(NodeId from, std::span<const std::uint64_t> blocks);

 private:
  enum class Owner : std::uint8_t { kHere, kElsewhere, kInterleaved };
  Owner owner(const void* block, const char* call) const;  // ends the program with a clear line for a foreign pointer
  void* allocate_at(std::size_t bytes, std::size_t alignment, Place place);
  void tell_apart_is_full();
  void release_here(void* block);
  void release_interleaved(void* block);
  bool gives_granules(std::uint64_t address);
  void send_frees(NodeId home, std::span<const std::uint64_t> blocks);
  void serve();
  NodeId keeper_of(std::uint64_t address) const;
  NodeId server_of(std::uint64_t address, Owner whose) const {
    return whose == Owner::kInterleaved ? NodeId{0} : keeper_of(address);
  }
  std::size_t size_of(const void* block, Owner whose);
  std::uint64_t take_granules(std::uint64_t count, bool fresh);

  Node& node_;
  heap::RemoteFrees frees_;
  Granules granules_;
  std::atomic<bool> told_full_{false};
};

}  // namespace dsm::runtime
