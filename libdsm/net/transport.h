// The transport contract: one-sided operations on other nodes' memory, and small messages. It carries opaque bytes and
// knows nothing of pages or latches. Every implementation passes tests/contract.
//
// 1. A chain's operations take effect at the target in the order given, and execute() returns when all have.
// 2. Atomics of all nodes on one word are atomic with each other, the target's own included, as long as everybody goes
//    through the transport (execute() with node == self() works). They need not be atomic with the CPU's own unless
//    cpu_atomics_agree().
// 3. Messages of one sender to one receiver arrive in order, whole, once. A message sent after execute() returned
//    arrives after that chain's effects are visible at its target.
// 4. send() never waits for the receiver: what does not fit goes into a local overflow that poll() flushes.
// 5. All calls are safe in signal context (no allocation, no stdio) and from any thread with signals blocked;
//    poll() lets one thread in at a time.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "base/types.h"

namespace dsm::net {

// What a node lets the others reach. Offsets are the same on every node.
enum class Region : std::uint8_t {
  kMemory,  // bytes of the global range: offset = address - base
  kMeta,    // latches and whatever else the runtime lays out there
};

enum class OpKind : std::uint8_t { kRead, kWrite, kCompareAndSwap, kFetchAdd };

// One operation of a chain. Build with the functions below.
struct Op {
  OpKind kind;
  Region region;
  std::uint32_t bytes;     // kRead, kWrite
  std::uint64_t offset;    // in the target's region; 8-byte aligned for atomics
  void* local;             // kRead: destination, kWrite: source
  std::uint64_t operand;   // kCompareAndSwap: new value; kFetchAdd: addend
  std::uint64_t expected;  // kCompareAndSwap
  std::uint64_t old;       // result of an atomic: the word before
};

constexpr Op read_op(Region region, std::uint64_t offset, void* to, std::uint32_t bytes) {
  return {OpKind::kRead, region, bytes, offset, to, 0, 0, 0};
}
constexpr Op write_op(Region region, std::uint64_t offset, const void* from, std::uint32_t bytes) {
  return {OpKind::kWrite, region, bytes, offset, const_cast<void*>(from), 0, 0, 0};
}
constexpr Op cas_op(Region region, std::uint64_t offset, std::uint64_t expected, std::uint64_t desired) {
  return {OpKind::kCompareAndSwap, region, 8, offset, nullptr, desired, expected, 0};
}
constexpr Op fetch_add_op(Region region, std::uint64_t offset, std::uint64_t addend) {
  return {OpKind::kFetchAdd, region, 8, offset, nullptr, addend, 0, 0};
}

// A chain that post() has begun.
struct Posted {
  std::uint64_t ticket = 0;
};

inline constexpr std::size_t kMaxMessageBytes = 240;

// Who is waiting for messages. A sender wakes the waiting kAccess thread if there is one, else the kService thread:
// a thread that waits for its own fault handles the node's messages meanwhile and saves a wake-up.
enum class Waiter : std::uint8_t { kService, kAccess };

// Called by poll() for each message, on the polling thread. `bytes` is gone when it returns.
using MessageSink = std::function<void(NodeId from, std::span<const std::byte> bytes)>;

class Transport {
 public:
  virtual ~Transport() = default;

  virtual const char* name() const = 0;
  virtual NodeId self() const = 0;
  virtual unsigned nodes() const = 0;
  virtual bool cpu_atomics_agree() const = 0;
  // Whether a network is in between: chains to other nodes take longer than the same work done here.
  virtual bool is_far() const = 0;
  // Whether execute() takes locks, so that signals have to be blocked around it.
  virtual bool takes_locks() const = 0;
  // Nodes that sent something that cannot be right (logged when seen). Nothing more is taken from them, and execute()
  // and send() to them return kProtocol: the job cannot go on.
  virtual NodeSet failed() const { return 0; }
  // Where this node's own region is mapped: always readable and writable, never protected. Of kMemory it is the node's
  // service view.
  virtual std::byte* local_region(Region region) const = 0;
  // Other nodes are about to use these bytes of this node for the first time: a hint, for transports to which that is
  // work (they have to register memory). Not for signal context.
  virtual void expose(Region, std::uint64_t /*offset*/, std::uint64_t /*bytes*/) {}
  // A mapping of this process that will often be the local side of large operations: a transport may register it. It
  // ends by unmap_lent(), whole, when no operation uses it.
  virtual void lend(std::byte* /*at*/, std::size_t /*bytes*/) {}
  virtual void unmap_lent(std::byte* at, std::size_t bytes) { ::munmap(at, bytes); }

  // Runs a chain on `node` and waits for its end.
  virtual Result<void> execute(NodeId node, std::span<Op> chain) = 0;

  // The same in two halves: post() begins it, finish() waits for its end, on the same thread. Until then the operations
  // and their memory are the transport's; what they read is there after finish(). A transport may do all of it at once,
  // and does when too many are on their way. A failure of the node shows in either half.
  virtual Result<Posted> post(NodeId node, std::span<Op> chain) {
    const auto done = execute(node, chain);
    if (!done) return tl::unexpected(done.error());
    return Posted{};
  }
  virtual Result<void> finish([[maybe_unused]] NodeId node, [[maybe_unused]] Posted posted) { return {}; }

  // `whom` it is for at the receiver: an answer that somebody waits for goes to the access waiter if there is one; what
  // asks for work goes to the service thread, which may get a CPU sooner.
  virtual Result<void> send(NodeId to, std::span<const std::byte> message, Waiter whom = Waiter::kAccess) = 0;
  // Hands waiting messages to `sink`, at the most `budget`; returns how many. 0 at once if another thread is polling.
  virtual unsigned poll(const MessageSink& sink, unsigned budget) = 0;
  // Sleeps until a message waits or wake() is called, at the most `timeout_ns` (negative: for ever). May return early.
  // At the most one thread waits as kAccess at a time (claim_access), one as kService.
  virtual void wait(Waiter who, std::int64_t timeout_ns) = 0;
  // True if this thread is now the one access waiter; it must wait() again or release soon: messages count on it.
  // release_access() passes those that are not handled on to the service thread.
  virtual bool claim_access() = 0;
  virtual void release_access() = 0;
  // Ends the wait() of that waiter of this node.
  virtual void wake(Waiter who) = 0;
};

}  // namespace dsm::net
