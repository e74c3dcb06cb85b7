#include "runtime/obstacles.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <optional>

#include "base/clock.h"
#include "base/log.h"
#include "base/meta_layout.h"
#include "insight/stack.h"
#include "mem/fault_signal.h"
#include "runtime/batch.h"
#include "runtime/calls.h"
#include "runtime/deadlock.h"
#include "runtime/lost.h"
#include "runtime/misuse.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/waits.h"

namespace dsm::runtime {
namespace {

// What is asked of the node of a thread.
enum class Question : std::uint8_t {
  kWait,      // args: thread -> the state of its wait
  kWaitsFor,  // args: thread -> the address that it waits for
  kHolder,    // args: address, kind and number, waiter -> the thread of that number that holds the waiter up, or 0
  kSay,       // args: address, kind, holder and waiter -> when it is in the log
  kSayLong,   // likewise
};

constexpr unsigned kMostHolders = 4096;
// How long a suspended thread may take to say where it is.
constexpr std::int64_t kTraceNs = 200'000'000;

// Both threads of a pair in one word: process ids have 22 bits, nodes have 6.
constexpr std::uint64_t packed(ThreadId thread) {
  return std::uint64_t{thread.node} << 24 | static_cast<std::uint32_t>(thread.tid);
}
constexpr ThreadId unpacked(std::uint64_t word) {
  return {static_cast<NodeId>(word >> 24 & 0x3f), static_cast<pid_t>(word & 0xffffff)};
}

std::uint64_t ask(Node& node, NodeId to, Question question, std::uint64_t subject, WaitKind kind = WaitKind::kNone,
                  unsigned number = 0, std::uint64_t threads = 0) {
  const std::uint64_t what =
      static_cast<std::uint64_t>(question) | static_cast<std::uint64_t>(kind) << 8 | std::uint64_t{number} << 16;
  return Call(node, to, Operation::kObjectHolder, {subject, what, threads}).wait();
}

// --- the side that asks ---------------------------------------------------------------------------------------------

std::uint64_t read_word(Node& node, NodeId home, std::uint64_t offset) {
  std::uint64_t word = 0;
  net::Op look = net::read_op(net::Region::kMeta, offset, &word, sizeof word);
  execute_or_end(node, home, {&look, 1});
  return word;
}

// The nodes that may have what is waited for.
NodeSet nodes_at(Node& node, const SeenWait& wait) {
  const PageId page = node.geometry.page_of(wait.address);
  NodeSet nodes = 0;
  if (wait.kind() == WaitKind::kObject) {
    const NodeId home = node.objects->home_of(wait.address);
    const proto::Header word = read_word(node, home, header_offset(node.geometry, wait.address));
    if (!proto::is_free(word)) nodes |= node_bit(proto::holder_of(word));
    if (proto::readers_of(word) != 0) nodes |= node_bit(home);
  } else {
    const NodeId home = node.geometry.home(page);
    const proto::Word word = read_word(node, home, latch_offset(page)) ^ stored_zero(node.geometry, page);
    nodes = proto::set_of(word);
    if (proto::is_exclusive(word)) nodes |= node_bit(proto::owner_of(word, home));
  }
  return nodes & (node_bit(static_cast<NodeId>(node.geometry.program_nodes())) - 1);
}

// --- the side that answers ------------------------------------------------------------------------------------------

ThreadPins* thread_of(pid_t tid) {
  ThreadPins* found = nullptr;
  for_each_thread([&](ThreadPins& thread) {
    if (tid != 0 && thread.tid.load() == tid) found = &thread;
  });
  return found;
}

bool is_inline(const Node& node) { return node.engine->faults_inline(); }

SeenWait wait_here(const Node& node, pid_t tid) {
  const ThreadPins* const thread = thread_of(tid);
  if (thread == nullptr) return {};
  const std::uint64_t state = thread->wait.state.load();
  const SeenWait seen{state, thread->wait.address.load()};
  const bool waits = seen.kind() != WaitKind::kNone && node.geometry.holds(seen.address);
  // A handler of the program's may have made it leave its access for good.
  const bool gone = seen.kind() == WaitKind::kPlain && !is_inline(node) && insight::suspended_at(tid) == 0;
  return waits && !gone && thread->wait.state.load() == state ? seen : SeenWait{};
}

bool same_header(std::uint64_t one, std::uint64_t other) { return granule_of(one) == granule_of(other); }

// The objects of one granule share one header, so who holds any of them holds them all, until it has written it back.
// Waiting to write it back may itself be the wait in question.
bool holds_header(const Pin& pin, std::uint64_t address, bool waits_itself) {
  const PinKind kind = pin.kind.load();
  if (!same_header(pin.address.load(), address)) return false;
  if (kind != PinKind::kRead && kind != PinKind::kWrite) return false;
  return pin.borrow.stage == proto::BorrowStage::kHeld ||
         (pin.borrow.stage == proto::BorrowStage::kQueued && pin.borrow.releasing && !waits_itself);
}

bool waits_plainly(const ThreadPins& thread, const Geometry& geometry, PageId page) {
  const ThreadWait& wait = thread.wait;
  return ThreadWait::kind_of(wait.state.load()) == WaitKind::kPlain && geometry.page_of(wait.address.load()) == page;
}

// Whether `pin`, of this node, keeps the waiter from what is at the address.
bool holds_up(const Node& node, const Pin& pin, WaitKind kind, std::uint64_t address, ThreadId waiter) {
  const ThreadPins& thread = *pin.owner;
  const bool waits_itself = ThreadId{node.self, thread.tid.load()} == waiter;
  if (kind == WaitKind::kObject) return holds_header(pin, address, waits_itself);
  const PageId page = node.geometry.page_of(address);
  if (!pin.holds_pages() || !pin.overlaps(node.geometry.address_of(page), kPageBytes)) return false;
  if (waits_itself) return false;
  // A page that the node has, but not for object work, stays for plain access until the borrow's end (objects.h, 5). If
  // it is here for object work the waiter joins, since it is nested; or does so here.
  const bool for_objects = !node.objects->has_left(page);
  if (waiter.node != node.self) return kind == WaitKind::kPlain || !for_objects;
  if (kind == WaitKind::kObjectPage || waits_plainly(thread, node.geometry, page)) return false;
  return for_objects && thread.raw_page.load() != page + 1;
}

// What a thread has that keeps the waiter off, and where it began with that.
struct Held {
  std::uint64_t address;
  CallSite site;
};

// Callers are noted behind the borrow's begin, with DSM_CHECK=1.
CallSite site_of(const Pin& pin) {
  auto& callers = const_cast<std::uint32_t&>(pin.site.callers);
  return {pin.site.file, pin.site.line, std::atomic_ref(callers).load(std::memory_order_acquire)};
}

std::optional<Held> hold_of(const Node& node, const ThreadPins& thread, WaitKind kind, std::uint64_t address,
                            ThreadId waiter) {
  std::optional<Held> found;
  thread.for_each([&](const Pin& pin) {
    if (!found && holds_up(node, pin, kind, address, waiter)) found = Held{pin.address.load(), site_of(pin)};
  });
  const std::uint64_t granted = thread.granted.load();
  if (!found && kind == WaitKind::kObject && granted != 0 && same_header(granted, address)) {
    found = Held{granted, thread.wait.site()};
  }
  return found;
}

pid_t holder_here(const Node& node, WaitKind kind, std::uint64_t address, ThreadId waiter, std::uint64_t number) {
  pid_t found = 0;
  std::uint64_t left = number;
  for_each_thread([&](const ThreadPins& thread) {
    if (found != 0 || !hold_of(node, thread, kind, address, waiter)) return;
    if (left-- == 0) found = thread.tid.load();
  });
  return found;
}

// --- what is said ---------------------------------------------------------------------------------------------------

void trace_this_thread() {
  if (ThreadPins* const me = borrower()) trace_interrupted(*me);
}

// Where the thread waits: as it has noted, or as it says now that it is suspended; at least the instruction.
Frames frames_of(const Node& node, ThreadPins& thread) {
  ThreadWait& wait = thread.wait;
  bool traced = wait.traced.load() == wait.state.load();
  if (!traced && ThreadWait::kind_of(wait.state.load()) == WaitKind::kPlain && !is_inline(node)) {
    wait.traced.store(0);
    const pid_t tid = thread.tid.load();
    const std::uint64_t at = insight::suspended_at(tid);
    const std::int64_t begin = now_ns();
    const bool asked = mem::visit_suspended(tid, trace_this_thread);
    while (asked && !(traced = wait.traced.load() != 0) && now_ns() - begin < kTraceNs) ::usleep(1000);
    if (!traced) return {at};
  }
  Frames frames{};
  if (traced) {
    for (std::size_t i = 0; i < frames.size(); ++i) frames[i] = wait.frames[i].load();
  }
  return frames;
}

void say_here(const Node& node, ThreadPins& thread, const Held& held) {
  const WaitKind kind = ThreadWait::kind_of(thread.wait.state.load());
  const std::uint64_t address = thread.wait.address.load();
  const Frames frames = frames_of(node, thread);
  const char* const what = kind == WaitKind::kPlain        ? "plain access to "
                           : kind == WaitKind::kObjectPage ? "the page of "
                                                           : "";
  const auto place = kind == WaitKind::kPlain && frames[0] != 0 ? place_text(frames[0], At::kAccess) : PlaceText{};
  log(LogLevel::kError, "deadlock", "thread {} borrowed {:#x}{} and waits for {}{:#x}{}{}{}", thread.tid.load(),
      held.address, site_text(held.site).data(), what, address, site_text(thread.wait.site()).data(),
      place[0] != '\0' ? " at " : "", place.data());
  if (frames[0] != 0) say_callers("it waits:", frames, kind == WaitKind::kPlain ? At::kAccess : At::kCall);
  if (held.site.callers != 0) say_callers("its borrow began:", callers_of(held.site));
}

std::uint64_t answer(Node& node, const Request& request) {
  const auto question = static_cast<Question>(request.args[1] & 0xff);
  const auto kind = static_cast<WaitKind>(request.args[1] >> 8 & 0xff);
  const std::uint64_t subject = request.args[0], number = request.args[1] >> 16;
  if (question == Question::kWait) return wait_here(node, static_cast<pid_t>(subject)).state;
  if (question == Question::kWaitsFor) return wait_here(node, static_cast<pid_t>(subject)).address;
  if (!node.geometry.holds(subject)) return 0;
  const ThreadId waiter = unpacked(request.args[2]);
  if (question == Question::kHolder) {
    return static_cast<std::uint32_t>(holder_here(node, kind, subject, waiter, number));
  }
  ThreadPins* const thread = thread_of(unpacked(request.args[2] >> 32).tid);
  const auto held = thread == nullptr ? std::nullopt : hold_of(node, *thread, kind, subject, waiter);
  if (!held) return 0;
  if (question == Question::kSay) {
    say_here(node, *thread, *held);
  } else if (question == Question::kSayLong) {
    log(LogLevel::kWarn, "borrow",
        "a thread of another node has waited {} s for {:#x}, which thread {} has borrowed{}; if that borrow was "
        "left without its end (longjmp), it waits for ever",
        kLongNs / 1'000'000'000, subject, thread->tid.load(), site_text(held->site).data());
  }
  return 1;
}

}  // namespace

SeenWait wait_of(Node& node, ThreadId thread) {
  const auto tid = static_cast<std::uint64_t>(thread.tid);
  const std::uint64_t state = ask(node, thread.node, Question::kWait, tid);
  const std::uint64_t address = ask(node, thread.node, Question::kWaitsFor, tid);
  const bool same = state != 0 && ask(node, thread.node, Question::kWait, tid) == state;
  return same && node.geometry.holds(address) ? SeenWait{state, address} : SeenWait{};
}

std::vector<ThreadId> obstacles(Node& node, ThreadId waiter, const SeenWait& wait) {
  std::vector<ThreadId> found;
  for (NodeSet left = nodes_at(node, wait); left != 0; left &= left - 1) {
    const auto at = static_cast<NodeId>(std::countr_zero(left));
    for (unsigned number = 0; number < kMostHolders; ++number) {
      const std::uint64_t tid = ask(node, at, Question::kHolder, wait.address, wait.kind(), number, packed(waiter));
      if (tid == 0) break;
      found.push_back({at, static_cast<pid_t>(tid)});
    }
  }
  return found;
}

void say_circle(Node& node, ThreadId holder, ThreadId waiter, const SeenWait& wait) {
  ask(node, holder.node, Question::kSay, wait.address, wait.kind(), 0, packed(holder) << 32 | packed(waiter));
}

void say_long(Node& node, ThreadId holder, ThreadId waiter, const SeenWait& wait) {
  ask(node, holder.node, Question::kSayLong, wait.address, wait.kind(), 0, packed(holder) << 32 | packed(waiter));
}

void serve_obstacles(Node& node) {
  node.calls->handle(Operation::kObjectHolder, [&node](Caller caller, const Request& request) {
    node.calls->reply(caller, answer(node, request));
  });
}

}  // namespace dsm::runtime
