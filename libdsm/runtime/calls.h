// Requests to other nodes and their replies. A request names an operation; the handler at the target runs on its
// service thread, unless it says that it can run anywhere, and may answer at once, later, or twice (an acknowledgement
// first). The requester's thread sleeps meanwhile.
//
// Wire: Request and ReplyMessage (wire.h), fixed size, checked on arrival. Handlers must not touch the application
// view: they would wait for pages on the thread that has to hand them over.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/futex.h"
#include "base/types.h"

namespace dsm::runtime {

struct Node;

enum class Operation : std::uint16_t {
  kAllocate,        // args: bytes, alignment, heap kind -> block or 0
  kUsableSize,      // args: block -> bytes
  kInterleaved,     // args: bytes, fresh -> address or 0          (node 0)
  kPublish,         // args: pointer; text: name                    (node 0)
  kLookup,          // args: timeout ms (-1: for ever); text: name -> pointer or 0   (node 0)
  kCollective,      // args: number, bytes, place -> address or 0   (node 0)
  kFreeSlot,        // args: page -> how many threads still waited  (sync: sync/server.h says what the values mean)
  kBarrier,         // args: page, parties -> at the end
  kSemaphore,       // args: page, what, count -> when acquired
  kWaitOn,          // args: page (condition variable) -> acknowledged, then when notified
  kCancelWait,      // args: page, call of the kWaitOn
  kNotify,          // args: page, how many
  kOnce,            // args: page, what
  kObjectWait,      // args: address, wish, 1 if small + 2 if in place -> the header when it is granted   (objects)
  kObjectHolder,    // args: see obstacles.cpp -> whom a thread waits for   (the search for deadlocks)
  kObjectBlock,     // args: bytes -> a new block for an owned object, or 0
  kObjectForget,    // args: address -> when the node has no copy of the object any more
  kProgram,         // args: the program's id -> 1 if it is this node's, too   (placed: delegation, spawning, channels)
  kCallOpen,        // args: ring -> the node's doorbell, when the ring is looked after
  kCallFence,       // args: ring, batches or a granule, what (placed/ring.h) -> when that is so, or whether
  kCallAt,          // args: function, parcel, sizes; text: record -> result
  kSpawn,           // args: function, parcel, bytes; text: arguments -> whether it failed
  kChannelSend,     // args: channel, parcel, bytes; text: value -> how it ended
  kChannelReceive,  // args: channel, parcel, what -> how it ended
  kChannelClose,    // args: channel, whether to destroy it
  kBlockState,      // args: block, frees -> what is known of it   (block_checks.h)
  kCount
};

struct Request {
  static constexpr std::size_t kMaxText = 128;
  Operation operation;
  std::uint16_t text_bytes;
  std::uint32_t call;  // names the call at the requester
  std::array<std::uint64_t, 3> args;
  char text[kMaxText];
};

// What a handler answers with; may be kept and used later, once (or twice: acknowledge, then reply).
struct Caller {
  NodeId node;
  std::uint32_t call;
};

// A call in flight, or done. Lives on the caller's stack; the constructor sends, the destructor waits for the reply.
class Call {
 public:
  Call(Node& node, NodeId to, Operation operation, std::array<std::uint64_t, 3> args, std::string_view text = {});
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  void wait_acknowledged();
  std::uint64_t wait();                    // the reply's value
  bool wait_for(std::int64_t timeout_ns);  // false on timeout; wait() then still has to come
  std::uint32_t id() const { return id_; }

 private:
  bool wait_until(std::uint32_t phase, std::int64_t timeout_ns);

  Node& node_;
  std::uint32_t id_;
};

// Where a handler may run. kAnywhere: on any thread, also one of the program that waits for something, in signal
// context: it allocates nothing, waits for nothing, and its locks are taken with signals blocked.
enum class Runs : std::uint8_t { kOnServiceThread, kAnywhere };

// The table of calls in flight and of handlers.
class Calls {
 public:
  using Handler = std::function<void(Caller, const Request&)>;

  explicit Calls(Node& node);
  ~Calls();

  static constexpr std::uint32_t kSlots = 4096;  // calls in flight at once; who comes later waits for a slot

  void handle(Operation operation, Handler handler, Runs runs = Runs::kOnServiceThread);  // at start-up only
  void acknowledge(Caller caller);
  void reply(Caller caller, std::uint64_t value);

  // From whoever polls: a request that runs only on the service thread has to be left to it.
  bool runs_anywhere(const Request& request) const;
  void on_request(NodeId from, const Request& request);
  void on_reply(NodeId from, std::uint32_t call, bool last, std::uint64_t value);

 private:
  friend class Call;
  struct Slot;
  Slot& slot(std::uint32_t call) const;
  bool all_taken() const { return first_free_ == kSlots && fresh_ == kSlots; }
  std::uint32_t take_slot(NodeId to);
  void give_slot(std::uint32_t call);
  void answer(Caller caller, bool last, std::uint64_t value);

  Node& node_;
  Slot* slots_;
  FutexLock free_lock_;
  std::uint32_t first_free_ = kSlots;    // of those given back, under free_lock_ as the next; kSlots: none
  std::uint32_t fresh_ = 0;              // from here on no slot's memory has been touched
  std::atomic<std::uint32_t> freed_{0};  // bumped when a slot is given back
  std::array<Handler, static_cast<std::size_t>(Operation::kCount)> handlers_;
  std::array<Runs, static_cast<std::size_t>(Operation::kCount)> runs_{};
};

}  // namespace dsm::runtime
