#include "runtime/deadlock.h"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/allocation_gate.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/signals.h"
#include "runtime/misuse.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/obstacles.h"
#include "runtime/waits.h"

namespace dsm::runtime {
namespace {

constexpr std::size_t kMostSteps = 256;  // of a way from thread to thread
constexpr auto kLookEvery = std::chrono::seconds(1);

struct Step {
  ThreadId thread;
  SeenWait wait;
};
using Circle = std::vector<Step>;  // each waits for the next, the last for the first

// Depth first, from all threads that wait on this node; nothing is followed twice.
class Search {
 public:
  explicit Search(Node& node) : node_(node) {}

  // A circle that can be reached from the thread, if there is one.
  std::optional<Circle> from(ThreadId thread) {
    way_.clear();
    return follow(thread);
  }
  // Whether it was one all the time since it was found.
  bool lasts(const Circle& circle);

 private:
  std::optional<Circle> follow(ThreadId thread);

  Node& node_;
  Circle way_;
  std::set<ThreadId> done_;
};

std::optional<Circle> Search::follow(ThreadId thread) {
  const auto before = std::find_if(way_.begin(), way_.end(), [&](const Step& step) { return step.thread == thread; });
  if (before != way_.end()) return Circle(before, way_.end());
  if (way_.size() == kMostSteps || !done_.insert(thread).second) return std::nullopt;
  const SeenWait wait = wait_of(node_, thread);
  if (wait.state == 0) return std::nullopt;
  way_.push_back({thread, wait});
  for (const ThreadId next : obstacles(node_, thread, wait)) {
    if (auto circle = follow(next)) return circle;
  }
  way_.pop_back();
  return std::nullopt;
}

bool Search::lasts(const Circle& circle) {
  for (std::size_t i = 0; i < circle.size(); ++i) {
    const std::vector<ThreadId> now = obstacles(node_, circle[i].thread, circle[i].wait);
    if (std::find(now.begin(), now.end(), circle[(i + 1) % circle.size()].thread) == now.end()) return false;
  }
  return std::all_of(circle.begin(), circle.end(),
                     [&](const Step& step) { return wait_of(node_, step.thread).state == step.wait.state; });
}

[[noreturn]] void end_for_circle(Node& node, const Circle& circle) {
  for (std::size_t i = 0; i < circle.size(); ++i) {
    say_circle(node, circle[(i + 1) % circle.size()].thread, circle[i].thread, circle[i].wait);
  }
  const bool plain =
      std::any_of(circle.begin(), circle.end(), [](const Step& step) { return step.wait.kind() != WaitKind::kObject; });
  log(LogLevel::kError, "deadlock",
      "{} wait for each other in a circle (each node has named its threads); the program ends. {}",
      plain ? "borrows and plain access inside borrows" : "borrows",
      plain ? "A thread that has borrowed an object to change it, and touches plain memory, waits for the borrows of "
              "that memory's page: end the borrow first, or borrow what is touched, too, in an order that all keep"
            : "Borrow in the same order everywhere, or end one borrow before the next; objects that share 64 bytes are "
              "borrowed as one (dsm::make_owned, or an alignment of 64, keeps them apart)");
  std::abort();
}

class Watch {
 public:
  explicit Watch(Node& node) : node_(node) {}
  [[noreturn]] void loop();

 private:
  bool look();
  void look_for_circles(std::span<const ThreadId> waiting);
  void tell_whom_for(ThreadId thread, const SeenWait& wait);
  bool look_at_closed_pages(std::int64_t now);

  Node& node_;
  std::map<pid_t, std::uint64_t> told_;  // the waits for whose sake others have been named
  // Borrows in pages that somebody wants plainly: since when, as far as seen, and whether that has been said.
  struct Closed {
    std::int64_t since_ns;
    bool said;
  };
  std::map<std::pair<const Pin*, std::uint64_t>, Closed> closed_;
};

// Who begins to wait stores that and then loads the word; here it is the other way round.
void Watch::loop() {
  const OwnAllocations own;
  ::prctl(PR_SET_NAME, "dsm-circles");
  for (;;) {
    while (waits_begun.load() == 0) futex_wait(waits_begun, 0, FutexScope::kProcess);
    std::this_thread::sleep_for(kLookEvery);
    waits_begun.store(0);
    if (look()) waits_begun.store(1);
  }
}

// False: nobody waits.
bool Watch::look() {
  const std::int64_t now = now_ns();
  bool any = false;
  std::vector<ThreadId> waiting, waiting_long;
  for_each_thread([&](const ThreadPins& thread) {
    if (ThreadWait::kind_of(thread.wait.state.load()) == WaitKind::kNone) return;
    any = true;
    const std::int64_t waited = now - thread.wait.since_ns.load();
    const ThreadId id{node_.self, thread.tid.load()};
    if (waited >= kSuspiciousNs) waiting.push_back(id);
    if (waited >= kLongNs) waiting_long.push_back(id);
  });
  look_for_circles(waiting);
  for (const ThreadId thread : waiting_long) tell_whom_for(thread, wait_of(node_, thread));
  return look_at_closed_pages(now) || any;
}

void Watch::look_for_circles(std::span<const ThreadId> waiting) {
  Search search(node_);
  for (const ThreadId thread : waiting) {
    const std::optional<Circle> circle = search.from(thread);
    if (!circle) continue;
    const Step& lowest = *std::min_element(circle->begin(), circle->end(),
                                           [](const Step& a, const Step& b) { return a.thread < b.thread; });
    if (lowest.thread.node == node_.self && search.lasts(*circle)) end_for_circle(node_, *circle);
  }
}

void Watch::tell_whom_for(ThreadId thread, const SeenWait& wait) {
  if (wait.state == 0 || wait.kind() == WaitKind::kPlain || told_[thread.tid] == wait.state) return;
  told_[thread.tid] = wait.state;
  for (const ThreadId holder : obstacles(node_, thread, wait)) say_long(node_, holder, thread, wait);
}

// Whoever waits for plain access, perhaps a thread that has never borrowed, is known here by the closed page only.
bool Watch::look_at_closed_pages(std::int64_t now) {
  std::map<std::pair<const Pin*, std::uint64_t>, Closed> seen;
  for_each_pin([&](const Pin& pin) {
    const std::uint64_t address = pin.address.load();
    if (!pin.holds_pages() || !node_.objects->closing(address, pin.bytes.load())) return;
    const auto before = closed_.find({&pin, address});
    Closed& closed = seen[{&pin, address}] = before == closed_.end() ? Closed{now, false} : before->second;
    if (closed.said || now - closed.since_ns < kLongNs) return;
    closed.said = true;
    log(LogLevel::kWarn, "borrow",
        "plain access to a page of {:#x} has waited {} s for thread {}, which has borrowed that{}; if the borrow was "
        "left without its end (longjmp), it waits for ever",
        address, kLongNs / 1'000'000'000, pin.owner->tid.load(), site_text(pin.site).data());
  });
  closed_ = std::move(seen);
  return !closed_.empty();
}

}  // namespace

// The node is never destroyed, and nobody waits for the thread: it ends with the process.
void start_deadlock_search(Node& node) {
  const SignalsBlocked blocked;  // inherited: no handler of the program ever runs on the thread
  std::thread([&node] { Watch(node).loop(); }).detach();
}

}  // namespace dsm::runtime
