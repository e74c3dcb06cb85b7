#include "sync/server.h"

#include <memory>

#include "base/check.h"
#include "base/geometry.h"
#include "base/signals.h"
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
  serve(Operation::kFreeSlot, &Server::free_slot);
  serve(Operation::kBarrier, &Server::barrier);
  serve(Operation::kSemaphore, &Server::semaphore);
  serve(Operation::kWaitOn, &Server::wait_on);
  serve(Operation::kCancelWait, &Server::cancel_wait);
  serve(Operation::kNotify, &Server::notify);
  serve(Operation::kOnce, &Server::once);
}

// --- slots ----------------------------------------------------------------------------------------------------------

PageId Server::take_slot() {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  PageId page = first_ + slots_.size();
  if (!free_.empty()) {
    page = free_.front();
    free_.pop_front();
  } else if (slots_.size() == kLatchesPerNode) {
    return kNoSlot;
  } else {
    slots_.emplace_back();
  }
  slots_[page - first_].taken = true;
  return page;
}

Server::Slot* Server::find(PageId page) {
  if (page < first_ || page - first_ >= slots_.size()) return nullptr;
  Slot& slot = slots_[page - first_];
  return slot.taken ? &slot : nullptr;
}

// --- requests -------------------------------------------------------------------------------------------------------

// Runs `act` for each request of that kind whose first argument is a slot in use, and sends the answers it has left.
void Server::serve(Operation operation, Act act) {
  node_.calls->handle(operation, [this, act](Caller caller, const Request& request) {
    const std::lock_guard guard(lock_);
    Slot* slot = find(request.args[0]);
    if (slot == nullptr) {
      answers_.push_back({caller, kNoSuchObject});
    } else {
      (this->*act)(*slot, caller, request);
    }
    for (const Answer& answer : answers_) node_.calls->reply(answer.caller, answer.value);
    answers_.clear();
  });
}

// The slot's object if it is of that kind, or nothing yet; else the caller is told.
template <typename Object>
Object* Server::object(Slot& slot, Caller caller) {
  if (std::holds_alternative<std::monostate>(slot.object)) slot.object.emplace<Object>();
  Object* const found = std::get_if<Object>(&slot.object);
  if (found == nullptr) answers_.push_back({caller, kNoSuchObject});
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
  answers_.push_back({caller, waiting});
  if (waiting != 0) return;  // the caller will end its program
  slot = Slot{};
  free_.push_back(request.args[0]);
}

void Server::barrier(Slot& slot, Caller caller, const Request& request) {
  if (auto* barrier = object<Barrier>(slot, caller)) barrier->arrive(caller, request.args[1], answers_);
}

void Server::semaphore(Slot& slot, Caller caller, const Request& request) {
  auto* const semaphore = object<Semaphore>(slot, caller);
  if (semaphore == nullptr) return;
  switch (static_cast<SemaphoreAct>(request.args[1])) {
    case SemaphoreAct::kAcquire: return semaphore->acquire(caller, answers_);
    case SemaphoreAct::kTryAcquire: return semaphore->try_acquire(caller, answers_);
    case SemaphoreAct::kRelease: return semaphore->release(caller, request.args[2], answers_);
  }
  answers_.push_back({caller, kBadArgument});
}

void Server::wait_on(Slot& slot, Caller caller, const Request&) {
  auto* const condition = object<Condition>(slot, caller);
  if (condition == nullptr) return;
  condition->wait(caller);
  node_.calls->acknowledge(caller);
}

void Server::cancel_wait(Slot& slot, Caller caller, const Request& request) {
  if (auto* condition = object<Condition>(slot, caller)) {
    condition->cancel(caller, static_cast<std::uint32_t>(request.args[1]), answers_);
  }
}

void Server::notify(Slot& slot, Caller caller, const Request& request) {
  if (auto* condition = object<Condition>(slot, caller)) condition->notify(caller, request.args[1], answers_);
}

void Server::once(Slot& slot, Caller caller, const Request& request) {
  auto* const once = object<Once>(slot, caller);
  if (once == nullptr) return;
  switch (static_cast<OnceAct>(request.args[1])) {
    case OnceAct::kBegin: return once->begin(caller, answers_);
    case OnceAct::kEnd: return once->end(caller, answers_);
  }
  answers_.push_back({caller, kBadArgument});
}

}  // namespace dsm::sync
