#include "runtime/holds.h"

#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <mutex>
#include <span>
#include <utility>

#include "base/allocation_gate.h"
#include "base/clock.h"
#include "base/latency.h"
#include "base/signals.h"
#include "base/sparse.h"
#include "runtime/latch_lock.h"
#include "runtime/local_memory.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/pages.h"

namespace dsm::runtime {
namespace {

// A thread that has been let go has surely made its access once it has run for this long, or twice as long as it takes
// to come back from a fault and into the next: it may read first and then write.
constexpr std::int64_t kUseNs = 3'000;
constexpr std::int64_t kLongestReturnNs = 50'000;
constexpr std::int64_t kLongestLookNs = 1'000'000;
// With DSM_KEEP_US: how often a page is looked at that is kept, and how long its user may run without a store to it. A
// hand-over takes about as long.
constexpr std::int64_t kKeepLookNs = 100'000;
constexpr std::int64_t kIdleNs = 100'000;
// A kept lock that nobody takes for so long goes, and this often afterwards it is not kept.
constexpr std::int64_t kLockIdleNs = 100'000;
constexpr std::int8_t kLockNotSoon = -32;
// And for how long it may stand still, waiting for a lock perhaps that somebody has who waits for this page.
constexpr std::uint32_t kStillUs = 150;

__attribute__((tls_model("initial-exec"))) constinit thread_local std::int64_t last_fault_ended_ns = 0;

std::uint32_t held_us(const Entry& entry) { return clock_us() - entry.granted_us; }

}  // namespace

Result<std::unique_ptr<Holds>> Holds::create(Node& node) {
  const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  if (timer < 0) return fail(Errc::kSystem, "cannot make a timer (timerfd_create)", errno);
  auto* const pages = map_sparse<PageId>(node.geometry.all_pages(), AtFork::kAbsent);
  auto* const tended = map_sparse<PageId>(node.geometry.all_pages(), AtFork::kAbsent);
  if (pages == nullptr || tended == nullptr) {
    ::close(timer);
    return fail(Errc::kNoMemory, "no address space for the list of contended pages (a smaller DSM_SLICE helps)");
  }
  return std::unique_ptr<Holds>(new Holds(node, timer, pages, tended));
}

Holds::~Holds() {
  stop();
  ::close(timer_);
}

void Holds::start() {
  const SignalsBlocked blocked;  // inherited: no handler of the program ever runs on this thread
  thread_ = std::thread([this] { loop(); });
}

void Holds::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true);
  arm(0);
  thread_.join();
}

bool Holds::used(PageId page, const Entry& entry) const {
  const bool raw = entry.page.access != Access::kObject;
  // Borrows that go on keep it, but not from being used for object work again.
  if (entry.page.keeps && entry.page.want != Access::kObject && node_.objects->go_on(page)) return false;
  const std::uint32_t held = held_us(entry);
  if (held >= static_cast<std::uint64_t>(node_.config.hold_max_ms) * 1000) return true;
  if (!raw) return held >= static_cast<std::uint64_t>(node_.config.hold_us);  // borrows say themselves when they end
  if (entry.user_cpu_ns == kUserWaits) return false;
  if (entry.user_cpu_ns == kUserRuns) return held >= static_cast<std::uint64_t>(node_.config.hold_us);
  const std::int64_t cpu = thread_cpu_ns(entry.user_tid);
  return cpu < 0 || cpu > entry.user_cpu_ns + std::max(kUseNs, 2 * return_ns_.load(std::memory_order_relaxed));
}

void Holds::fault_begins(std::int64_t at_ns) {
  const std::int64_t last = last_fault_ended_ns;
  const std::int64_t least = return_ns_.load(std::memory_order_relaxed);
  if (last == 0 || at_ns - last >= (least != 0 ? least : kLongestReturnNs)) return;
  return_ns_.store(at_ns - last, std::memory_order_relaxed);
}

void Holds::fault_ends() {
  if (node_.engine->faults_inline()) last_fault_ended_ns = now_ns();
}

// When to look at the page again. Half as long again as it has been held: a few looks, however long it takes.
std::int64_t Holds::look_again_ns(const Entry& entry) const {
  const std::int64_t held = std::int64_t{held_us(entry)} * 1000;
  const std::int64_t end = node_.config.hold_max_ms * 1'000'000;
  if (entry.user_cpu_ns == kUserWaits && held < end) return end - held;  // or when it is let go
  const std::int64_t left = turn_left_ns();
  const std::int64_t longest = left != 0 ? std::clamp(left, kFirstLookNs, kKeepLookNs) : kLongestLookNs;
  const std::int64_t first = first_look_ns(entry);
  return std::clamp(held / 2, first, std::max(first, longest));
}

// Who has loaded from a page and is about to store and give it on is not to be interrupted for that.
std::int64_t Holds::first_look_ns(const Entry& entry) { return entry.closed ? kStoreComesNs : kFirstLookNs; }

void Holds::let_go(const Entry& entry) {
  if (entry.deferred && entry.page.fresh) arm(first_look_ns(entry));
}

bool Holds::may_go(PageId page, Entry& entry) {
  if (!used(page, entry) || (node_.config.keep_us != 0 && worth_keeping(page, entry))) {
    defer(page, entry, look_again_ns(entry));
    return false;
  }
  if (entry.page.access != Access::kObject) return true;
  return node_.objects->may_leave(page, exclude(entry.page.want, Access::kObject));
}

// How long this node's turn lasts still; 0 if it is another's. Nodes of one host have one clock; where clocks differ,
// turns overlap, which costs time and nothing else.
std::int64_t Holds::turn_left_ns() const {
  const std::int64_t turn_ns = node_.config.keep_us * 1000;
  const std::int64_t now = now_ns();
  const bool mine = turn_ns != 0 && now / turn_ns % node_.geometry.program_nodes() == node_.self;
  return mine ? turn_ns - now % turn_ns : 0;
}

// Keeping is a trial each time: whether the node's threads come back to the lock soon.
bool Holds::keeps_lock(PageId page, Entry& entry) {
  const std::int64_t left = entry.page.access != Access::kWrite ? 0 : turn_left_ns();
  const bool kept = latch_kept(entry);
  if (left == 0) {
    if (kept) latch_keep_no_more(entry);
    return false;
  }
  if (!kept && entry.brief < 0) {
    ++entry.brief;
    return false;
  }
  const bool due = !kept || held_us(entry) >= kLockIdleNs / 1000;
  if (kept && due && !latch_taken(entry)) {
    entry.brief = kLockNotSoon;
    latch_keep_no_more(entry);
    return false;
  }
  if (due) {
    latch_keep(entry);
    entry.granted_us = clock_us();
  }
  defer(page, entry, std::min(left, kLockIdleNs));
  return true;
}

// The access that the page was gained for has run. The first look only remembers what the page is like. A thread that
// has hardly run since then could not write: others have its CPU, or it waits for the next page of several. One that
// had a lock is done with the page when it gives the lock to the next node, who wants the page then.
bool Holds::worth_keeping(PageId page, const Entry& entry) {
  const bool here = node_.local == nullptr || !node_.local->covers(page);  // a look never brings lent memory here
  if (!here || entry.user_locks || entry.page.access != Access::kWrite || turn_left_ns() == 0) return false;
  const std::int64_t cpu_ns = thread_cpu_ns(entry.user_tid);
  const std::uint64_t now = digest(page);
  const std::lock_guard guard(lock_);
  Seen& seen = seen_[page % seen_.size()];
  const bool first = seen.page != page || seen.granted_us != entry.granted_us;
  const bool changed = first || seen.digest != now;
  if (changed) seen = {page, entry.granted_us, now, cpu_ns, held_us(entry)};
  return changed || (cpu_ns - seen.cpu_ns < kIdleNs && held_us(entry) - seen.held_us < kStillUs);
}

// The program may be writing meanwhile; any digest of a page that changes differs from the one before.
std::uint64_t Holds::digest(PageId page) const {
  constexpr std::size_t kWords = kPageBytes / sizeof(std::uint64_t);
  auto* const words = reinterpret_cast<std::uint64_t*>(node_.service_view + (page << kPageShift));
  std::array<std::uint64_t, 4> sums{1, 2, 3, 4};
  for (std::size_t i = 0; i < kWords; i += sums.size()) {
    for (std::size_t lane = 0; lane < sums.size(); ++lane) {
      const std::uint64_t word = std::atomic_ref(words[i + lane]).load(std::memory_order_relaxed);
      sums[lane] = (sums[lane] ^ word) * 0x9e3779b97f4a7c15U;
      sums[lane] ^= sums[lane] >> 29;
    }
  }
  return sums[0] ^ std::rotl(sums[1], 16) ^ std::rotl(sums[2], 32) ^ std::rotl(sums[3], 48);
}

void Holds::defer(PageId page, Entry& entry, std::int64_t look_ns) {
  if (!entry.deferred) {
    const std::lock_guard guard(lock_);
    pages_[count_++] = page;
    entry.deferred = true;
  }
  arm(look_ns);
}

void Holds::arm(std::int64_t delay_ns) {
  const std::int64_t due = now_ns() + delay_ns;
  const std::lock_guard guard(lock_);
  if (due >= due_ns_) return;
  due_ns_ = due;
  const itimerspec when{{}, {due / 1'000'000'000, due % 1'000'000'000}};
  ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
}

void Holds::loop() {
  const OwnAllocations own;
  ::prctl(PR_SET_NAME, "dsm-holds");
  ::prctl(PR_SET_TIMERSLACK, 1);
  if (!become_urgent()) prefer_latency();
  while (!stopping_.load()) {
    std::uint64_t times = 0;
    if (::read(timer_, &times, sizeof times) >= 0) tend();
  }
}

// Looks at every page once. Those that are still held come back to the list and set the timer anew.
void Holds::tend() {
  lock_.lock();
  due_ns_ = kNever;
  const std::size_t count = std::exchange(count_, 0);
  std::swap(pages_, tended_);
  lock_.unlock();
  for (const PageId page : std::span(tended_, count)) {
    Entry& entry = node_.pages->entry(page);
    entry.lock.lock();
    entry.deferred = false;
    if (!node_.geometry.has_bytes(page)) {
      node_.pages->run_locked(page, entry, kReconsider);
    } else if (entry.page.look_asked && entry.page.fresh) {
      if (may_go(page, entry)) {
        Pages::note_no_store(entry);
        node_.pages->run_locked(page, entry, {.kind = proto::EventKind::kUsed});
      }
    }
    entry.lock.unlock();
  }
}

}  // namespace dsm::runtime
