#include "runtime/latch_lock.h"

#include <atomic>
#include <cstddef>

#include "base/check.h"
#include "base/clock.h"
#include "base/signals.h"
#include "runtime/node.h"
#include "runtime/pages.h"

namespace dsm::runtime {
namespace {

using Bits = std::uint32_t;
constexpr Bits kReaders = 0xffff;
constexpr Bits kWriter = 1U << 16;
constexpr Bits kMayRead = 1U << 17;
constexpr Bits kMayWrite = 1U << 18;
constexpr Bits kClosed = 1U << 19;
constexpr Bits kOwed = 1U << 20;
constexpr Bits kLooked = 1U << 21;
constexpr Bits kSleepers = 1U << 22;
constexpr Bits kWriterWaits = 1U << 23;
constexpr Bits kStandBack = 1U << 24;
constexpr Bits kKept = 1U << 25;
constexpr Bits kTaken = 1U << 26;
constexpr Bits kHolders = kReaders | kWriter;

// A thread that has waited so long makes newcomers of its node stand back.
constexpr std::int64_t kPatienceNs = 1'000'000;
// So long try_lock waits for an answer of the node that has the lock and may not need it.
constexpr std::int64_t kTryNs = 1'000'000;

constexpr Access access_for(Hold hold) { return hold == Hold::kShared ? Access::kRead : Access::kWrite; }
constexpr Bits right_for(Hold hold) { return hold == Hold::kShared ? kMayRead : kMayWrite; }
constexpr Bits rights(Access access) {
  return access == Access::kNone ? 0 : access == Access::kRead ? kMayRead : kMayRead | kMayWrite;
}

std::uint16_t& asking(Entry& entry, Hold hold) { return entry.asking[static_cast<std::size_t>(hold)]; }

// Another thread of this node is in the way.
constexpr bool conflict(Bits bits, Hold hold) {
  return (bits & (hold == Hold::kShared ? kWriter | kWriterWaits : kHolders)) != 0;
}

constexpr Bits taken(Bits bits, Hold hold) {
  return (hold == Hold::kShared ? bits + 1 : (bits | kWriter) & ~kWriterWaits) | kTaken;
}

// Changes the word to next(word); returns what it was.
template <typename Next>
Bits change(std::atomic<Bits>& hold, Next next) {
  Bits bits = hold.load(std::memory_order_relaxed);
  while (!hold.compare_exchange_weak(bits, next(bits), std::memory_order_acq_rel, std::memory_order_relaxed)) {
  }
  return bits;
}

bool take_fast(Entry& entry, Hold hold) {
  Bits bits = entry.hold.load(std::memory_order_relaxed);
  const Bits right = right_for(hold);
  while ((bits & (right | kClosed | kOwed | kStandBack)) == right && !conflict(bits, hold)) {
    if (entry.hold.compare_exchange_weak(bits, taken(bits, hold), std::memory_order_acquire)) return true;
  }
  return false;
}

// A thread on the slow path.
struct Waiter {
  Hold hold;
  bool asked = false;    // it has asked for rights: if some are owed, they are owed to it
  bool slept = false;    // it has waited and is no newcomer any more
  bool patient = false;  // it has waited for long
};

enum class Outcome { kTaken, kTakenClosed, kNoRight, kInUse };

bool its_turn(Bits bits, const Waiter& waiter) {
  if ((bits & kStandBack) != 0 && !waiter.slept) return false;
  return (bits & (kClosed | kOwed)) == 0 || (waiter.asked && (bits & kOwed) != 0);
}

// Under the entry's lock. `sleeps`: if the lock is in use, the thread will sleep and wants to be woken.
Outcome take_slow(Entry& entry, const Waiter& waiter, bool sleeps) {
  const Hold hold = waiter.hold;
  Bits bits = entry.hold.load(std::memory_order_relaxed);
  for (;;) {
    if ((bits & right_for(hold)) == 0) return Outcome::kNoRight;
    if (its_turn(bits, waiter) && !conflict(bits, hold)) {
      const Bits next = taken(bits, hold) & ~(kOwed | (waiter.patient ? kStandBack : 0));
      if (!entry.hold.compare_exchange_weak(bits, next, std::memory_order_acquire)) continue;
      return (bits & kClosed) != 0 ? Outcome::kTakenClosed : Outcome::kTaken;
    }
    const bool first = hold == Hold::kExclusive && (bits & kReaders) != 0 && (waiter.asked || (bits & kOwed) == 0);
    const Bits waiting = bits | kSleepers | (first ? kWriterWaits : 0) | (waiter.patient ? kStandBack : 0);
    if (!sleeps || entry.hold.compare_exchange_weak(bits, waiting, std::memory_order_relaxed)) return Outcome::kInUse;
  }
}

void lock_slow(Node& node, PageId page, Entry& entry, Hold hold) {
  const std::int64_t begin = now_ns();
  for (Waiter waiter{hold};; waiter.slept = true, waiter.patient = now_ns() - begin > kPatienceNs) {
    const SignalsBlocked blocked;
    entry.lock.lock();
    const std::uint32_t seen = entry.changed.load();
    const Outcome outcome = take_slow(entry, waiter, true);
    const bool done = outcome == Outcome::kTaken || outcome == Outcome::kTakenClosed;
    if (done && waiter.asked) --asking(entry, hold);
    if (outcome == Outcome::kNoRight && !waiter.asked) {
      ++asking(entry, hold);
      waiter.asked = true;
    }
    entry.lock.unlock();
    if (done) {
      // The node that waits may be content with reading beside us.
      if (outcome == Outcome::kTakenClosed && hold == Hold::kShared) node.pages->event(page, kReconsider);
      count(waiter.asked ? node.stats->lock_remote : node.stats->lock_local);
      const std::int64_t took = now_ns() - begin;
      if (waiter.asked) node.stats->lock_latency.add(took);
      if (node.recorder != nullptr) node.recorder->lock_waited(page, begin, took, current_tid());
      return;
    }
    if (outcome == Outcome::kNoRight) {
      node.pages->event(page, {.kind = proto::EventKind::kFault, .access = access_for(hold)});
    }
    node.pages->await_change(entry.changed, seen, Pages::stretch_ns(now_ns() - begin));
  }
}

}  // namespace

// --- threads of the program -----------------------------------------------------------------------------------------

bool latch_lock(Node& node, PageId page, Hold hold) {
  Entry& entry = node.pages->entry(page);
  const std::int32_t self = current_tid();
  if (take_fast(entry, hold)) {
    count(node.stats->lock_local);
  } else {
    if (entry.owner.load(std::memory_order_relaxed) == self) return false;
    lock_slow(node, page, entry, hold);
  }
  if (hold == Hold::kExclusive) entry.owner.store(self, std::memory_order_relaxed);
  return true;
}

bool latch_try_lock(Node& node, PageId page, Hold hold) {
  Entry& entry = node.pages->entry(page);
  bool done = take_fast(entry, hold);
  std::int64_t end = 0;
  while (!done) {
    const SignalsBlocked blocked;
    entry.lock.lock();
    const std::uint32_t seen = entry.changed.load();
    const Outcome outcome = take_slow(entry, {hold}, false);
    entry.lock.unlock();
    done = outcome == Outcome::kTaken;
    if (outcome == Outcome::kInUse) return false;
    if (outcome != Outcome::kNoRight) break;
    const std::int64_t now = now_ns();
    if (end == 0) {
      end = now + kTryNs;
      node.pages->event(page, {.kind = proto::EventKind::kFault, .access = access_for(hold)});
    }
    if (now >= end) return false;
    node.pages->await_change(entry.changed, seen, end - now);
  }
  count(end == 0 ? node.stats->lock_local : node.stats->lock_remote);
  if (hold == Hold::kExclusive) entry.owner.store(current_tid(), std::memory_order_relaxed);
  return true;
}

bool latch_unlock(Node& node, PageId page, Hold hold) {
  Entry& entry = node.pages->entry(page);
  if (hold == Hold::kExclusive) {
    if (entry.owner.load(std::memory_order_relaxed) != current_tid()) return false;
    entry.owner.store(0, std::memory_order_relaxed);
  }
  Bits before = entry.hold.load(std::memory_order_relaxed);
  Bits after = 0;
  do {
    if (hold == Hold::kShared && (before & kReaders) == 0) return false;
    after = hold == Hold::kShared ? before - 1 : before & ~kWriter;
    if ((after & (kHolders | kClosed)) == 0) after &= ~kSleepers;
  } while (!entry.hold.compare_exchange_weak(before, after, std::memory_order_release, std::memory_order_relaxed));
  if ((after & kHolders) != 0 || (before & (kSleepers | kClosed)) == 0) return true;
  const SignalsBlocked blocked;
  if ((before & kClosed) != 0) {
    node.pages->event(page, kReconsider);  // its end wakes the sleepers
  } else {
    node.pages->notify_change(entry.changed);
  }
  return true;
}

bool latch_held(Node& node, PageId page) { return (node.pages->entry(page).hold.load() & kHolders) != 0; }

// --- Batch ----------------------------------------------------------------------------------------------------------

void latch_permission(Entry& entry, Access access) {
  const bool wanted =
      asking(entry, Hold::kShared) != 0 || (access == Access::kWrite && asking(entry, Hold::kExclusive) != 0);
  const bool owed = entry.page.fresh && wanted;
  const Bits before = change(entry.hold, [&](Bits bits) {
    const bool gained = (rights(access) & ~bits) != 0;
    Bits next = (bits & ~(kMayRead | kMayWrite)) | rights(access);
    if (gained) next |= kClosed | (owed ? kOwed : 0);  // until the run has ended
    if (access == Access::kNone) next &= ~(kOwed | kKept);
    if (access != Access::kWrite) next &= ~kWriterWaits;
    return next;
  });
  DSM_CHECK((before & kWriter) == 0 && (access != Access::kNone || (before & kReaders) == 0),
            "rights to a lock change to {} while it is held ({:x})", static_cast<int>(access), before);
}

std::optional<proto::Event> latch_await_use(Entry& entry) {
  const Bits bits = change(entry.hold, [](Bits was) { return was | kClosed; });
  if ((bits & (kHolders | kOwed)) == 0) return proto::Event{.kind = proto::EventKind::kUsed};
  if ((bits & (kWriter | kLooked)) != 0) return std::nullopt;
  // Perhaps owed to a writer: if it is a reader, its taking the lock will tell.
  if ((bits & kOwed) != 0 && (bits & kMayWrite) != 0) return std::nullopt;
  change(entry.hold, [](Bits was) { return was | kLooked; });
  return proto::Event{.kind = proto::EventKind::kRelease, .access = Access::kRead};
}

void latch_keep(Entry& entry) {
  change(entry.hold, [](Bits bits) { return (bits | kKept) & ~kTaken; });
}

void latch_keep_no_more(Entry& entry) {
  change(entry.hold, [](Bits bits) { return bits & ~kKept; });
}

bool latch_kept(const Entry& entry) { return (entry.hold.load() & kKept) != 0; }

bool latch_taken(const Entry& entry) { return (entry.hold.load() & (kTaken | kHolders | kOwed)) != 0; }

bool latch_run_ended(Entry& entry) {
  proto::Page& page = entry.page;
  page.fresh = page.access != Access::kNone;
  const bool nobody_waits = !page.fresh || !page.look_asked;
  const Bits before = change(entry.hold, [&](Bits bits) {
    bits &= ~(kLooked | kSleepers);
    return nobody_waits || (bits & kKept) != 0 ? bits & ~kClosed : bits;
  });
  DSM_CHECK((before & (kMayRead | kMayWrite)) == rights(page.access), "rights {:x}, but access {}", before,
            static_cast<int>(page.access));
  return (before & kSleepers) != 0;
}

}  // namespace dsm::runtime
