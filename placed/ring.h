// How posted calls travel. For each thread that posts calls to a node, that node has a ring in its object memory, which
// the thread fills by one-sided writes; batches hold runs of calls of the same function.
//
//   batch:  | RunHead | record, record, ... | RunHead | record, ... |      record: object's address, arguments
//
// 1. `ready` and the slots are the sender's to write, `taken` is the home's; both count batches.
// 2. The sender writes a batch, then `ready`, then reads the doorbell. The home says that it sleeps in the doorbell,
//    and then looks at all `ready`s once more. So one of them sees the other.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace dsm::placed {

inline constexpr std::size_t kBatchBytes = 8192;
inline constexpr std::uint64_t kSlots = 8;

// What a request to look after a ring's calls wishes, and what it is about.
enum class FenceWish : std::uint64_t {
  kTaken,     // an answer when so many batches have been taken
  kRun,       // ... and everything in them has run
  kWaitsFor,  // at once: 1 if a call from the ring is set aside for this granule
};

struct RunHead {
  std::uint64_t function;  // by its place in the program
  std::uint32_t stride;
  std::uint32_t count;
  std::uint64_t object_bytes;
};

struct RingSlot {
  std::uint64_t bytes;
  std::byte runs[kBatchBytes - 8];
};

struct Ring {
  alignas(64) std::atomic<std::uint64_t> ready;
  std::atomic<std::uint64_t> doorbell;  // address of the home's, in its memory
  alignas(64) std::atomic<std::uint64_t> taken;
  alignas(64) RingSlot slots[kSlots];
};

}  // namespace dsm::placed
