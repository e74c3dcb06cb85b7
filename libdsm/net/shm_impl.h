// The shm transport itself, for its own .cpp files: shm_transport.cpp maps, shm_datapath.cpp executes, sends and polls,
// shm_bells.cpp sleeps and wakes.
//
// 1. An Outbox is written under its lock; the lock is per destination, so threads that send elsewhere don't meet.
// 2. An Inbox is written by the thread that holds polling_. wait() and release_access() read both kinds without a lock:
//    what they read may be old, and an old value makes them see work that is done already, never miss work that is not.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/emulation.h"
#include "base/futex.h"
#include "net/local_chain.h"
#include "net/mapping.h"
#include "net/overflow.h"
#include "net/shm_transport.h"
#include "net/shm_wire.h"

namespace dsm::net::shm {

// A node's memory as this process sees it.
struct View {
  Mapping memory;
  Mapping meta;
  Mailbox* mailbox = nullptr;
};

// What this node sends to one node.
struct alignas(kLineBytes) Outbox {
  FutexLock lock;
  Ring* ring = nullptr;
  std::atomic<std::uint64_t> produced{0};  // messages put into the ring
  std::uint64_t consumed = 0;              // of them, at the last look
  bool stalled = false;                    // the ring's `stalled` is set: so it is whenever an overflow is left alone
  Overflow overflow;                       // not empty: its bit in overflowing_ is set, and nothing overtakes it
};

// What this node receives from one node.
struct alignas(kLineBytes) Inbox {
  Ring* ring = nullptr;
  std::atomic<std::uint64_t> consumed{0};  // never read back from the ring, where others could change it
};

class ShmTransport final : public Transport {
 public:
  ShmTransport(NodeId self, const ShmParams& params, const Emulation& emulation, std::vector<View> views);

  const char* name() const override { return emulation_.on() ? "shm (emulated network)" : "shm"; }
  NodeId self() const override { return self_; }
  unsigned nodes() const override { return nodes_; }
  bool cpu_atomics_agree() const override { return true; }
  bool is_far() const override { return emulation_.on(); }
  bool takes_locks() const override { return false; }
  NodeSet failed() const override { return failed_.load(std::memory_order_relaxed); }
  std::byte* local_region(Region region) const override { return region_of(views_[self_], region); }

  Result<void> execute(NodeId node, std::span<Op> chain) override;
  Result<Posted> post(NodeId node, std::span<Op> chain) override;
  Result<void> finish(NodeId node, Posted posted) override;
  Result<void> send(NodeId to, std::span<const std::byte> message, Waiter whom) override;
  unsigned poll(const MessageSink& sink, unsigned budget) override;
  void wait(Waiter who, std::int64_t timeout_ns) override;
  bool claim_access() override;
  void release_access() override;
  void wake(Waiter who) override;

 private:
  static std::byte* region_of(const View& view, Region region);
  void run_chain(NodeId node, std::span<Op> chain) const;
  bool emulates(NodeId node) const { return emulation_.on() && node != self_; }

  bool has_room(NodeId to);                                                        // under the outbox' lock
  void put(Outbox& box, std::int64_t due_ns, std::span<const std::byte> message);  // likewise, and there is room
  unsigned flush(NodeId to);                                                       // likewise; how many went
  void flush_all();
  bool quiet() const;
  unsigned drain(NodeId from, const MessageSink& sink, unsigned quota);  // holding polling_
  const char* complaint(const SlotWord& word, std::uint64_t number, NodeId from, std::int64_t due_ns) const;
  void give_up(NodeId node, const char* why);

  static constexpr std::int64_t kNothing = std::numeric_limits<std::int64_t>::max();
  std::int64_t next_work() const;
  std::int64_t next_delivery(NodeId from) const;
  bool can_flush(NodeId to) const;
  Result<Posted> post(NodeId node, std::span<Op> chain, std::int64_t spent_ns);
  void ring_bells(NodeId node, Waiter first = Waiter::kAccess);
  void ring_stalled(NodeId sender);

  const NodeId self_;
  const unsigned nodes_;
  const RegionSizes sizes_;
  const Emulation emulation_;
  std::vector<View> views_;
  std::vector<Outbox> outboxes_;
  std::vector<Inbox> inboxes_;

  alignas(kLineBytes) std::atomic<NodeSet> failed_{0};
  std::atomic<NodeSet> overflowing_{0};
  alignas(kLineBytes) std::atomic<bool> polling_{false};
  unsigned next_sender_ = 0;  // holding polling_
  alignas(kLineBytes) std::atomic<bool> access_claimed_{false};
};

}  // namespace dsm::net::shm
