// The synchronisation objects homed at this node: hands out slots, and answers what all nodes ask of the objects in
// them. Slots are the node's latch-only pages; locks need nothing else (runtime/latch_lock.h).
//
// Threads: requests come in on the service thread, slots are taken by the program's threads. All under lock_.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <variant>
#include <vector>

#include "base/types.h"
#include "runtime/calls.h"
#include "sync/objects.h"

namespace dsm::runtime {
struct Node;
}

namespace dsm::sync {

enum class SemaphoreAct : std::uint64_t { kAcquire, kTryAcquire, kRelease };
enum class OnceAct : std::uint64_t { kBegin, kEnd };

class Server {
 public:
  explicit Server(runtime::Node& node);  // registers itself with node.calls

  static constexpr PageId kNoSlot = 0;
  PageId take_slot();  // kNoSlot: all are in use

 private:
  // What the object is, its first operation tells.
  struct Slot {
    bool taken = false;
    std::variant<std::monostate, Barrier, Semaphore, Condition, Once> object;
  };
  using Act = void (Server::*)(Slot& slot, Caller caller, const runtime::Request& request);

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
  std::mutex lock_;     // taken with signals blocked
  std::vector<Slot> slots_;
  std::deque<PageId> free_;  // reused in the order of their freeing: use after destruction is noticed for longer
  Answers answers_;
};

// Start hook of the node (runtime/start_hooks.h).
void start_sync(runtime::Node& node);
// This process's server.
Server& server();

}  // namespace dsm::sync
