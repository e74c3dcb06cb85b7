// The verbs transport itself, for its own .cpp files: verbs_transport.cpp makes and connects, verbs_operations.cpp
// executes chains, verbs_posting.cpp puts them together, verbs_learning.cpp gets keys, verbs_messages.cpp sends and
// polls, verbs_waiting.cpp sleeps and wakes, verbs_attendant.cpp is its one thread.
//
// 1. A lane is used by one thread at a time, for one chain at a time: its completion queue, its buffer and its volleys
//    belong to that thread, and no queue can overrun. Every lane has a queue pair to every node. post() takes a lane
//    only if one is free; execute() has lanes of its own, whose holders never wait for another lane.
// 2. Messages to a node are at most its window, until it says that it has taken them: its receive queue has room for
//    all windows of all nodes. What exceeds a window waits in an overflow.
// 3. Locks are held with signals blocked, and the transport allocates nothing after it was made, except in its thread
//    and in expose().
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "base/futex.h"
#include "net/local_chain.h"
#include "net/mapping.h"
#include "net/overflow.h"
#include "net/verbs_keys.h"
#include "net/verbs_lent.h"
#include "net/verbs_memory.h"
#include "net/verbs_queues.h"
#include "net/verbs_transport.h"
#include "net/verbs_wire.h"

namespace dsm::net::verbs {

// Where bytes that came into a volley's buffer go when it is through.
struct Landing {
  void* to;
  std::uint32_t from;
  std::uint32_t bytes;
};

// Requests that are posted at once; the last one reports.
struct Volley {
  std::uint64_t number = 0;  // in its lane; 0: not on its way
  unsigned requests = 0;
  unsigned landings = 0;
  unsigned lent = 0;         // places of LentMemory in use
  std::uint32_t filled = 0;  // of the buffer
  std::byte* buffer = nullptr;
  std::array<ibv_send_wr, kVolleyDepth> request;
  std::array<ibv_sge, kVolleyDepth> piece;
  std::array<Landing, kVolleyDepth> landing;
  std::array<unsigned, kVolleyDepth> lent_place;
};

struct alignas(64) Lane {
  FutexLock lock;
  std::atomic<bool> ahead{false};  // an ahead lane: it has a chain, from post() to finish()
  Channel channel;
  CompletionQueue completions;
  Buffer buffer;
  std::vector<QueuePair> pairs;  // by node
  unsigned inline_bytes = 0;
  std::uint64_t number = 0;   // of its last volley
  std::int64_t usual_ns = 0;  // how long one was waited for, a running mean
  std::array<Volley, kVolleys> volleys;
};

// What this node sends to one node. Its queue pair's requests are all messages and credits.
struct alignas(64) Outbox {
  FutexLock lock;
  QueuePair pair;
  Overflow overflow;                        // not empty: its bit in overflowing_ is set, and nothing overtakes it
  std::uint32_t posted = 0;                 // requests; under the lock
  std::atomic<std::uint32_t> completed{0};  // of them
  std::atomic<std::uint32_t> sent{0};       // messages; under the lock
  std::atomic<std::uint32_t> allowed{kWindow};
  Buffer slots;  // only where the device cannot take a message inline
};

// What this node receives from one node; of the polling thread.
struct Inbox {
  std::uint32_t taken = 0;
  std::uint32_t returned = 0;  // of them, told to the sender
};

struct Arrival {
  std::uint32_t slot;
  std::uint8_t bytes;
  NodeId from;
};

class VerbsTransport final : public Transport {
 public:
  static Result<std::unique_ptr<VerbsTransport>> make(const VerbsParams& params);
  ~VerbsTransport() override;

  const char* name() const override { return "verbs"; }
  NodeId self() const override { return self_; }
  unsigned nodes() const override { return nodes_; }
  bool cpu_atomics_agree() const override { return device_.cpu_atomics_agree(); }
  bool is_far() const override { return true; }
  bool takes_locks() const override { return true; }
  NodeSet failed() const override { return failed_.load(std::memory_order_relaxed); }
  std::byte* local_region(Region region) const override { return bases_[static_cast<std::size_t>(region)]; }
  void expose(Region region, std::uint64_t offset, std::uint64_t bytes) override;

  void lend(std::byte* at, std::size_t bytes) override;
  void unmap_lent(std::byte* at, std::size_t bytes) override;

  Result<void> execute(NodeId node, std::span<Op> chain) override;
  Result<Posted> post(NodeId node, std::span<Op> chain) override;
  Result<void> finish(NodeId node, Posted posted) override;
  Result<void> send(NodeId to, std::span<const std::byte> message, Waiter whom) override;
  unsigned poll(const MessageSink& sink, unsigned budget) override;
  void wait(Waiter who, std::int64_t timeout_ns) override;
  bool claim_access() override;
  void release_access() override;
  void wake(Waiter who) override;

  VerbsCounters counters() const;
  void break_pairs(NodeId node);

 private:
  friend class Posting;
  VerbsTransport(const VerbsParams& params, Device device, Mapping memory, Mapping meta);

  // verbs_transport.cpp: set-up, in this order
  Result<void> make_lanes();
  Result<void> make_mail();
  Result<void> make_control();
  Result<void> introduce(const Exchange& exchange);
  Hello hello() const;
  Result<void> meet(const std::vector<std::vector<std::byte>>& all);
  Result<void> connect_to(NodeId node, const Hello& peer);

  // verbs_operations.cpp
  Lane& take_lane();
  Lane* take_lane_ahead();
  Result<bool> begin(NodeId node, std::span<Op> chain);
  Result<void> put(Lane& lane, NodeId node, std::span<Op> chain);
  void fire(Lane& lane, NodeId node, Volley& volley);
  ibv_wc_status await(Lane& lane, NodeId node, const Volley& volley);
  void block(Lane& lane);
  void end_pair(ibv_qp* pair) const;
  Result<void> complete(Lane& lane, NodeId node, Volley& volley);
  Result<void> complete_all(Lane& lane, NodeId node);
  bool on_cpu(NodeId node, std::span<const Op> chain) const;

  // verbs_learning.cpp
  Result<void> learn_keys(Lane& lane, NodeId node, std::span<const Op> chain);
  Result<void> learn_key(Lane& lane, NodeId node, const Unit& unit);
  Result<void> read_entry(Lane& lane, NodeId node, const Unit& unit, Key& key);
  Result<void> ask(Lane& lane, NodeId node, const Unit& unit);
  Result<void> run_one(Lane& lane, NodeId node, const ibv_send_wr& request, std::uint32_t bytes);

  // verbs_messages.cpp
  bool may_send(const Outbox& box) const;
  void put_mail(NodeId to, MailWord word, std::span<const std::byte> bytes);  // under the outbox' lock
  Result<void> send_here(std::span<const std::byte> message, Waiter whom);
  void flush(NodeId to);  // under the outbox' lock
  void flush_all();
  void reap_sends();
  void drain();
  void arrived(const ibv_wc& completion);  // under drain_lock_
  unsigned hand_out(const MessageSink& sink, unsigned budget);
  void hand_out_one(const MessageSink& sink);
  void hand_out_own(const MessageSink& sink);
  void return_credit(NodeId from);
  NodeId sender_of(std::uint32_t pair) const;
  void give_up(NodeId node, ibv_wc_status status);
  void give_up(NodeId node, const char* why, const char* what);

  // verbs_waiting.cpp
  bool work() const;
  bool ring(Waiter who);
  void sleep(Waiter who, bool for_messages, std::int64_t timeout_ns);
  void take_event();

  // verbs_attendant.cpp
  void attend();
  void take_requests();
  void take_asynchronous();
  void ring_attendant();

  const NodeId self_;
  const unsigned nodes_;
  const RegionSizes sizes_;
  const std::int64_t dead_after_ms_;
  const Device device_;
  const Library& library_;
  const Mapping memory_;
  const Mapping meta_;
  const RegionBases bases_;
  const UnitMap units_;
  std::unique_ptr<OwnUnits> own_;
  std::vector<Hello> peers_;
  std::vector<std::atomic<std::uint64_t>*> known_;  // by node: its key table as far as read

  Receiver control_;
  Receiver mail_;
  CompletionQueue sends_cq_;  // reports to the mail's channel, too
  unsigned mail_inline_ = 0;

  std::array<Lane, kAllLanes> lanes_;
  LentMemory lent_;
  std::vector<Outbox> outboxes_;
  std::vector<Inbox> inboxes_;

  FutexLock drain_lock_;  // of the next four
  std::vector<Arrival> arrivals_;
  std::atomic<std::uint64_t> arrived_{0};
  std::atomic<std::uint64_t> taken_{0};
  Overflow own_mail_;
  std::atomic<std::uint32_t> own_waiting_{0};

  FutexLock reap_lock_;
  std::atomic<NodeSet> overflowing_{0};
  std::atomic<NodeSet> failed_{0};
  std::atomic<bool> polling_{false};
  std::atomic<bool> access_claimed_{false};
  std::array<std::atomic<std::uint32_t>, 2> bells_{};  // by Waiter
  std::array<int, 2> bell_fds_{-1, -1};
  int attendant_fd_ = -1;
  std::atomic<bool> ending_{false};
  bool own_first_ = false;  // holding polling_

  std::atomic<std::uint64_t> operations_{0};
  std::atomic<std::uint64_t> chains_{0};
  std::thread attendant_;
};

}  // namespace dsm::net::verbs
