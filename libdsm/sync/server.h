// The synchronisation objects homed at this node: hands out slots, and answers what all nodes ask of the objects in
// them. Slots are the node's latch-only pages; locks need nothing else (runtime/latch_lock.h).
//
// Runs on whatever thread has the request: the service thread, a thread of the program that waits (in signal context,
// too: nothing is allocated), or the one that asks an object homed at its own node. All under lock_, signals blocked.
#pragma once

#include <cstdint>
#include <variant>

#include "base/futex.h"
#include "base/types.h"
#include "runtime/calls.h"
#include "sync/objects.h"

namespace dsm::runtime {
struct Node;
}

namespace dsm::sync {

enum class SemaphoreAct : std::uint64_t { kAcquire, kTryAcquire, kRelease };
enum class OnceAct : std::uint64_t { kBegin, kEnd };

class Server final : private Desk {
 public:
  explicit Server(runtime::Node& node);  // registers itself with node.calls
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  static constexpr PageId kNoSlot = 0;
  PageId take_slot();  // kNoSlot: all are in use

 private:
  // What the object is, its first operation tells.
  struct Slot {
    bool taken = false;
    std::uint32_t next_free = 0;  // as first_free_
    std::variant<std::monostate, Barrier, Semaphore, Condition, Once> object;
  };
  using Act = void (Server::*)(Slot& slot, Caller caller, const runtime::Request& request);

  void answer(Caller caller, std::uint64_t value) override;
  void serve(runtime::Operation operation, Act act);
  Slot* find(PageId page);
  template <typename Object>
  Object* object(Slot& slot, Caller caller);

  void free_slot(Slot& slot, Caller caller, const runtime::Request& request);
  void barrier(Slot& slot, Caller caller, const runtime::Request& request);
  void semaphore(Slot& slot, Caller caller, const runtime::Request& request);
  void wait_on(Slot& slot, Caller caller, const runtime::Request& request);
  void cancel_wait(Slot& slot, Caller caller, const runtime::Request& request);
  void notify(Slot& slot, Caller caller, const runtime::Request& request);
  void once(Slot& slot, Caller caller, const runtime::Request& request);

  runtime::Node& node_;
  const PageId first_;  // slots_[i] is page first_ + i
  FutexLock lock_;
  Slot* slots_;  // mapped for all kLatchesPerNode, constructed as far as slot_count_
  std::uint64_t slot_count_ = 0;
  // Free slots, reused in the order of their freeing, so that use after destruction is noticed for longer: numbers
  // plus one, 0 for none.
  std::uint32_t first_free_ = 0;
  std::uint32_t last_free_ = 0;
};

// Start hook of the node (runtime/start_hooks.h).
void start_sync(runtime::Node& node);
// This process's server.
Server& server();

}  // namespace dsm::sync
