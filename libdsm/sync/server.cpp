#include "sync/server.h"

#include <sys/mman.h>

#include <memory>
#include <mutex>
#include <new>

#include "base/check.h"
#include "base/geometry.h"
#include "base/log.h"
#include "base/no_memory.h"
#include "base/signals.h"
#include "base/sparse.h"
#include "runtime/node.h"

namespace dsm::sync {
namespace {

using runtime::Operation;
using runtime::Request;

Server* running = nullptr;  // lives until the process ends, as the node does

}  // namespace

void start_sync(runtime::Node& node) {
  DSM_CHECK(running == nullptr, "two nodes in one process");
  running = std::make_unique<Server>(node).release();
}

Server& server() { return *running; }

Server::Server(runtime::Node& node) : node_(node), first_(node.geometry.latches_first(node.self)) {
  slots_ = map_sparse<Slot>(kLatchesPerNode);
  if (slots_ == nullptr) end_without_memory("the synchronisation slots");
  serve(Operation::kFreeSlot, &Server::free_slot);
  serve(Operation::kBarrier, &Server::barrier);
  serve(Operation::kSemaphore, &Server::semaphore);
  serve(Operation::kWaitOn, &Server::wait_on);
  serve(Operation::kCancelWait, &Server::cancel_wait);
  serve(Operation::kNotify, &Server::notify);
  serve(Operation::kOnce, &Server::once);
}

Server::~Server() { ::munmap(slots_, kLatchesPerNode * sizeof(Slot)); }

// --- slots ----------------------------------------------------------------------------------------------------------

PageId Server::take_slot() {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  std::uint64_t number = slot_count_;
  if (first_free_ != 0) {
    number = first_free_ - 1;
    first_free_ = slots_[number].next_free;
  } else if (slot_count_ == kLatchesPerNode) {
    return kNoSlot;
  } else {
    ++slot_count_;
  }
  new (&slots_[number]) Slot{.taken = true, .next_free = 0, .object = {}};
  return first_ + number;
}

Server::Slot* Server::find(PageId page) {
  if (page < first_ || page - first_ >= slot_count_) return nullptr;
  Slot& slot = slots_[page - first_];
  return slot.taken ? &slot : nullptr;
}

// --- requests -------------------------------------------------------------------------------------------------------

// Runs `act` for each request of that kind whose first argument is a slot in use.
void Server::serve(Operation operation, Act act) {
  const auto handler = [this, act](Caller caller, const Request& request) {
    const std::lock_guard guard(lock_);
    Slot* slot = find(request.args[0]);
    if (slot == nullptr) return answer(caller, kNoSuchObject);
    if (pool.full()) {
      log(LogLevel::kError, "sync", "more requests wait here than all nodes can have; one of node {} is refused",
          caller.node);
      return answer(caller, kBadArgument);
    }
    (this->*act)(*slot, caller, request);
  };
  node_.calls->handle(operation, handler, runtime::Runs::kAnywhere);
}

void Server::answer(Caller caller, std::uint64_t value) { node_.calls->reply(caller, value); }

// The slot's object if it is of that kind, or nothing yet; else the caller is told.
template <typename Object>
Object* Server::object(Slot& slot, Caller caller) {
  if (std::holds_alternative<std::monostate>(slot.object)) slot.object.emplace<Object>();
  Object* const found = std::get_if<Object>(&slot.object);
  if (found == nullptr) answer(caller, kNoSuchObject);
  return found;
}

// An object on which threads wait is not freed: its destruction is a mistake of the program, which its destroyer tells.
void Server::free_slot(Slot& slot, Caller caller, const Request& request) {
  const auto waiting = std::visit(
      [](const auto& object) -> std::uint64_t {
        if constexpr (requires { object.waiting(); }) return object.waiting();
        return 0;
      },
      slot.object);
  answer(caller, waiting);
  if (waiting != 0) return;  // the caller will end its program
  slot = Slot{};
  const auto number = static_cast<std::uint32_t>(request.args[0] - first_ + 1);
  (first_free_ == 0 ? first_free_ : slots_[last_free_ - 1].next_free) = number;
  last_free_ = number;
}

void Server::barrier(Slot& slot, Caller caller, const Request& request) {
  if (auto* barrier = object<Barrier>(slot, caller)) barrier->arrive(*this, caller, request.args[1]);
}

void Server::semaphore(Slot& slot, Caller caller, const Request& request) {
  auto* const semaphore = object<Semaphore>(slot, caller);
  if (semaphore == nullptr) return;
  switch (static_cast<SemaphoreAct>(request.args[1])) {
    case SemaphoreAct::kAcquire:
      return semaphore->acquire(*this, caller);
    case SemaphoreAct::kTryAcquire:
      return semaphore->try_acquire(*this, caller);
    case SemaphoreAct::kRelease:
      return semaphore->release(*this, caller, request.args[2]);
  }
  answer(caller, kBadArgument);
}

void Server::wait_on(Slot& slot, Caller caller, const Request&) {
  auto* const condition = object<Condition>(slot, caller);
  if (condition == nullptr) return;
  condition->wait(*this, caller);
  node_.calls->acknowledge(caller);
}

void Server::cancel_wait(Slot& slot, Caller caller, const Request& request) {
  if (auto* condition = object<Condition>(slot, caller)) {
    condition->cancel(*this, caller, static_cast<std::uint32_t>(request.args[1]));
  }
}

void Server::notify(Slot& slot, Caller caller, const Request& request) {
  if (auto* condition = object<Condition>(slot, caller)) condition->notify(*this, caller, request.args[1]);
}

void Server::once(Slot& slot, Caller caller, const Request& request) {
  auto* const once = object<Once>(slot, caller);
  if (once == nullptr) return;
  switch (static_cast<OnceAct>(request.args[1])) {
    case OnceAct::kBegin:
      return once->begin(*this, caller);
    case OnceAct::kEnd:
      return once->end(*this, caller);
  }
  answer(caller, kBadArgument);
}

}  // namespace dsm::sync
