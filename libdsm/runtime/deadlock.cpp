#include "runtime/deadlock.h"

#include <cstdlib>

#include "base/clock.h"
#include "base/log.h"
#include "base/meta_layout.h"
#include "runtime/calls.h"
#include "runtime/misuse.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/pins.h"

namespace dsm::runtime {
namespace {

// Requests: whose turn it is to say something (args[1]).
enum Question : std::uint64_t {
  kWhoHolds,   // to the home -> node + 1 of the holder, 0: nobody
  kWhatNext,   // to the holder -> what the thread that holds it waits for, 0: nothing
  kWhichWait,  // to the holder -> number of that wait, and the thread
  kSay,        // to the holder: log both lines of it
  kSayHeld,    // to the holder: log that somebody has waited for long
};

constexpr unsigned kMostHops = 64;

// Who holds one object of a granule, holds the header that all of them have.
bool same_header(std::uint64_t one, std::uint64_t other) { return one / kObjectGranule == other / kObjectGranule; }

const ThreadPins* holder_here(std::uint64_t address, const Pin** held = nullptr) {
  const ThreadPins* found = nullptr;
  for_each_pin([&](const Pin& pin) {
    if (!same_header(pin.address.load(), address) || pin.kind.load() == PinKind::kCopy ||
        pin.kind.load() == PinKind::kFetch)
      return;
    if (pin.borrow.stage != proto::BorrowStage::kHeld) return;
    found = pin.owner;
    if (held != nullptr) *held = &pin;
  });
  return found;
}

std::uint64_t ask(Node& node, NodeId to, std::uint64_t address, Question question) {
  return Call(node, to, Operation::kObjectHolder, {address, question, 0}).wait();
}

NodeId home_of(const Node& node, std::uint64_t address) { return node.geometry.home(node.geometry.page_of(address)); }

std::uint64_t wait_of(const ThreadPins& thread) {
  return thread.wait_number.load() << 32 | static_cast<std::uint32_t>(thread.tid.load());
}

// Follows the chain; the sum of all its waits if it comes back to this thread, else 0.
std::uint64_t circle(Node& node, std::uint64_t address, bool say) {
  std::uint64_t sum = 1;
  for (unsigned hop = 0; hop < kMostHops; ++hop) {
    const std::uint64_t holder = ask(node, home_of(node, address), address, kWhoHolds);
    if (holder == 0 || holder > node.geometry.nodes) return 0;
    const auto at = static_cast<NodeId>(holder - 1);
    const std::uint64_t which = ask(node, at, address, kWhichWait);
    const std::uint64_t next = ask(node, at, address, kWhatNext);
    if (next == 0 || !node.geometry.holds(next)) return 0;
    if (say) ask(node, at, address, kSay);
    sum = sum * 31 + which;
    if (at == node.self && which == wait_of(my_pins())) return sum;
    address = next;
  }
  return 0;
}

std::uint64_t answer(Node& node, std::uint64_t address, std::uint64_t question) {
  if (question == kWhoHolds) {
    proto::Header word = 0;
    net::Op look = net::read_op(net::Region::kMeta, header_offset(node.geometry, address), &word, sizeof word);
    if (!node.transport->execute(node.self, {&look, 1})) return 0;
    if (proto::hold_of(word) != proto::Hold::kFree) return proto::holder_of(word) + std::uint64_t{1};
    return proto::readers_of(word) != 0 ? node.self + std::uint64_t{1} : 0;
  }
  const Pin* held = nullptr;
  const ThreadPins* thread = holder_here(address, &held);
  if (thread == nullptr) return 0;
  if (question == kWhichWait) return wait_of(*thread);
  if (question == kSay) {
    log(LogLevel::kError, "deadlock", "thread {} borrowed {:#x}{} and waits for {:#x}{}", thread->tid.load(),
        held->address.load(), site_text(held->site).data(), thread->waits_for.load(),
        site_text(thread->waits_at).data());
  }
  if (question == kSayHeld) {
    log(LogLevel::kWarn, "borrow",
        "a thread of another node has waited {} s for {:#x}, which thread {} has borrowed{}; if that borrow was "
        "left without its end (longjmp), it waits for ever",
        kLongNs / 1'000'000'000, address, thread->tid.load(), site_text(held->site).data());
  }
  return thread->waits_for.load();
}

}  // namespace

void tell_holder(Node& node, std::uint64_t address) {
  const std::uint64_t holder = ask(node, home_of(node, address), address, kWhoHolds);
  if (holder == 0 || holder > node.geometry.nodes) return;
  ask(node, static_cast<NodeId>(holder - 1), address, kSayHeld);
}

void find_deadlock(Node& node, std::uint64_t address) {
  const std::uint64_t once = circle(node, address, false);
  if (once == 0 || once != circle(node, address, false)) return;
  circle(node, address, true);
  log(LogLevel::kError, "deadlock",
      "borrows wait for each other in a circle (each node has named its threads); the program ends. Borrow in the same "
      "order everywhere, or end one borrow before the next; objects that share 64 bytes are borrowed as one "
      "(dsm::make_owned, or an alignment of 64, keeps them apart)");
  std::abort();
}

void serve_deadlock_search(Node& node) {
  node.calls->handle(Operation::kObjectHolder, [&node](Caller caller, const Request& request) {
    const bool sane = node.geometry.holds(request.args[0]);
    node.calls->reply(caller, sane ? answer(node, request.args[0], request.args[1]) : 0);
  });
}

}  // namespace dsm::runtime
