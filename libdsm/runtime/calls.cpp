#include "runtime/calls.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/no_memory.h"
#include "base/signals.h"
#include "base/tsan.h"
#include "runtime/forks.h"
#include "runtime/node.h"
#include "runtime/pages.h"
#include "runtime/wire.h"

namespace dsm::runtime {
namespace {

// The life of a call, in the low half of its slot's state. In the high half stands the call's id, so that an answer
// that comes late, twice or for nobody cannot hit the slot's next call.
enum Phase : std::uint32_t { kFree, kSent, kAcknowledged, kFilling, kDone };

// To ThreadSanitizer: what this node has said to others comes before what it hears from them later.
constexpr char kOthers = 0;

constexpr std::uint64_t state_of(std::uint32_t call, Phase phase) { return std::uint64_t{call} << 32 | phase; }
constexpr std::uint32_t call_of(std::uint64_t state) { return static_cast<std::uint32_t>(state >> 32); }
constexpr std::uint32_t phase_of(std::uint64_t state) { return static_cast<std::uint32_t>(state); }

}  // namespace

// A call's id is its slot's number plus a multiple of kSlots that differs each time.
struct alignas(64) Calls::Slot {
  std::atomic<std::uint64_t> state;
  std::atomic<std::uint64_t> value;
  std::atomic<std::uint32_t> changed;  // bumped at each answer; the caller sleeps on it
  std::atomic<NodeId> to;              // who is asked
  std::uint32_t last_call;             // under free_lock_, as the next
  std::uint32_t next_free;
};

// --- the table ------------------------------------------------------------------------------------------------------

Calls::Calls(Node& node) : node_(node) {
  void* memory = ::mmap(nullptr, kSlots * sizeof(Slot), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) end_without_memory("the table of calls");
  slots_ = static_cast<Slot*>(memory);
}

Calls::~Calls() { ::munmap(slots_, kSlots * sizeof(Slot)); }

Calls::Slot& Calls::slot(std::uint32_t call) const { return slots_[call % kSlots]; }

// Call with signals blocked.
std::uint32_t Calls::take_slot(NodeId to) {
  for (;;) {
    const std::uint32_t seen = freed_.load();
    free_lock_.lock();
    if (!all_taken()) break;
    free_lock_.unlock();
    futex_wait(freed_, seen, FutexScope::kProcess, Pages::stretch_ns(0));
  }
  if (first_free_ == kSlots) {
    slots_[fresh_].last_call = fresh_;
    slots_[fresh_].next_free = kSlots;
    first_free_ = fresh_++;
  }
  Slot& slot = slots_[first_free_];
  first_free_ = slot.next_free;
  slot.last_call += kSlots;
  const std::uint32_t call = slot.last_call;
  free_lock_.unlock();
  slot.to.store(to);
  slot.state.store(state_of(call, kSent));
  return call;
}

void Calls::give_slot(std::uint32_t call) {
  Slot& given = slot(call);
  given.state.store(state_of(call, kFree));
  free_lock_.lock();
  const bool were_none = all_taken();
  given.next_free = first_free_;
  first_free_ = call % kSlots;
  free_lock_.unlock();
  freed_.fetch_add(1);
  if (were_none) futex_wake(freed_, INT32_MAX, FutexScope::kProcess);
}

// --- the side that answers ------------------------------------------------------------------------------------------

void Calls::handle(Operation operation, Handler handler, Runs runs) {
  Handler& known = handlers_[static_cast<std::size_t>(operation)];
  DSM_CHECK(!known, "operation {} has two handlers", static_cast<int>(operation));
  known = std::move(handler);
  runs_[static_cast<std::size_t>(operation)] = runs;
}

bool Calls::runs_anywhere(const Request& request) const {
  const auto operation = static_cast<std::size_t>(request.operation);
  return operation < runs_.size() && runs_[operation] == Runs::kAnywhere;
}

void Calls::on_request(NodeId from, const Request& request) {
  if (from != node_.self) tsan_after(&kOthers);
  const auto operation = static_cast<std::size_t>(request.operation);
  // Another program, which links less of the library, must not leave its asker waiting.
  if (operation < handlers_.size() && !handlers_[operation]) return reply({from, request.call}, 0);
  if (operation >= handlers_.size() || request.text_bytes > Request::kMaxText) {
    log(LogLevel::kError, "wire", "node {} has sent a request that cannot be right (operation {}, {} bytes): ignored",
        from, operation, request.text_bytes);
    return;
  }
  handlers_[operation]({from, request.call}, request);
}

void Calls::acknowledge(Caller caller) { answer(caller, false, 0); }
void Calls::reply(Caller caller, std::uint64_t value) { answer(caller, true, value); }

void Calls::answer(Caller caller, bool last, std::uint64_t value) {
  if (caller.node == node_.self) return on_reply(node_.self, caller.call, last, value);
  tsan_before(&kOthers);
  const ReplyMessage message{caller.call, last ? 1U : 0U, value};
  send_message(node_, caller.node, pack(MessageType::kReply, message).bytes());
}

// Runs in signal context, too: a thread that waits for a page handles the node's messages.
void Calls::on_reply(NodeId from, std::uint32_t call, bool last, std::uint64_t value) {
  if (from != node_.self) tsan_after(&kOthers);
  Slot& answered = slot(call);
  const Phase next = last ? kFilling : kAcknowledged;
  std::uint64_t state = state_of(call, kSent);
  bool awaited = answered.to.load() == from && answered.state.compare_exchange_strong(state, state_of(call, next));
  if (!awaited && last && state == state_of(call, kAcknowledged)) {
    awaited = answered.state.compare_exchange_strong(state, state_of(call, next));
  }
  if (!awaited) {
    log(LogLevel::kError, "wire", "node {} has answered call {:#x}, which waits for no answer of it: ignored", from,
        call);
    return;
  }
  if (last) {
    answered.value.store(value);
    answered.state.store(state_of(call, kDone));
  }
  node_.pages->notify_change(answered.changed);
}

// --- the side that asks ---------------------------------------------------------------------------------------------

Call::Call(Node& node, NodeId to, Operation operation, std::array<std::uint64_t, 3> args, std::string_view text)
    : node_(node) {
  DSM_CHECK(to < node.geometry.program_nodes() && text.size() <= Request::kMaxText,
            "a call to node {} with {} bytes of text", to, text.size());
  if (in_forked_child()) [[unlikely]] {
    log(LogLevel::kError, "fork", "a forked child needs node {} for this, and is no node itself; the child ends", to);
    std::abort();
  }
  if (to != node.self) tsan_before(&kOthers);
  const SignalsBlocked blocked;
  id_ = node.calls->take_slot(to);
  Request request{operation, static_cast<std::uint16_t>(text.size()), id_, args, {}};
  if (!text.empty()) std::memcpy(request.text, text.data(), text.size());
  if (to == node.self && node.calls->runs_anywhere(request)) {
    node.calls->on_request(to, request);
  } else {
    send_message(node, to, pack(MessageType::kRequest, request).bytes());
  }
}

Call::~Call() {
  wait();
  const SignalsBlocked blocked;
  node_.calls->give_slot(id_);
}

void Call::wait_acknowledged() { wait_until(kAcknowledged, -1); }

std::uint64_t Call::wait() {
  wait_until(kDone, -1);
  return node_.calls->slot(id_).value.load();
}

bool Call::wait_for(std::int64_t timeout_ns) { return wait_until(kDone, std::max<std::int64_t>(timeout_ns, 0)); }

// Waits for the phase or a later one; false on timeout (negative: never).
bool Call::wait_until(std::uint32_t phase, std::int64_t timeout_ns) {
  Calls::Slot& slot = node_.calls->slot(id_);
  const std::int64_t begin = now_ns();
  for (;;) {
    const std::uint32_t seen = slot.changed.load();
    const std::uint64_t state = slot.state.load();
    DSM_CHECK(call_of(state) == id_, "call {:#x} has lost its slot", id_);
    if (phase_of(state) >= phase && phase_of(state) != kFilling) return true;
    const std::int64_t waited = now_ns() - begin, stretch = Pages::stretch_ns(waited);
    const std::int64_t left = timeout_ns < 0 ? stretch : timeout_ns - waited;
    if (left <= 0) return false;
    const SignalsBlocked blocked;
    node_.pages->await_change(slot.changed, seen, std::min(left, stretch));
  }
}

}  // namespace dsm::runtime
