// Sleeping and waking. Each node has two bells in its mailbox, one for its service thread and one for its access
// waiter; a bell is a futex word: awake, asleep or woken (shm_wire.h). Why no message is stranded:
//
// S1. A sender publishes the slot (seq_cst exchange), then reads the bells. A waiter sets its bell to asleep (seq_cst
//     exchange), then looks at all slots. One of the two sees the other: the waiter does not sleep, or it is rung.
// S2. To ring is to swap asleep for awake; who succeeds wakes the futex, so a waiter about to sleep finds the word
//     changed. A waiter comes out with an exchange, never a plain store: it thereby sees the slot of who rang it, even
//     if it came out for another reason at that moment.
// S3. A sender counts on the access waiter only if its own swap succeeded, or if the bell says that he is attending: he
//     leaves that state by an exchange in wait() or release_access(), and looks after it. Else, and for what is not for
//     him, it tries the service bell. If that thread is not asleep, it has yet to pass S1, and will see the slot.
// S4. A rung access waiter's next step is wait() (S1: it looks again) or release_access(), which looks and rings the
//     service bell if anything is left. So nothing depends on its polling, nor on being the one that polls.
// S5. The same holds for an overflow: its sender sets `stalled`, then looks at `consumed` again; the receiver advances
//     `consumed`, then reads `stalled` and rings the sender's bells. Room in a ring with an overflow is work, as in S1.
//     Only the sender clears `stalled`, when the overflow is empty: cleared by the receiver, it could be lost by a
//     sender that had refilled the ring meanwhile.
// S6. Work that is not due yet is found by the same looks, and bounds the sleep.
#include <algorithm>
#include <atomic>
#include <bit>

#include "base/check.h"
#include "base/clock.h"
#include "net/shm_impl.h"

namespace dsm::net::shm {
namespace {

// A sleep ends late by the thread's timer slack and the wake-up; what is due sooner is spun for.
constexpr std::int64_t kSleepAtLeastNs = 100'000;
constexpr std::int64_t kWakeUpNs = 60'000;
constexpr std::int64_t kOtherPollsNs = 50'000;

// Whether somebody will look because of this.
bool ring(std::atomic<std::uint32_t>& bell) {
  const std::uint32_t state = bell.load();
  if (state == kAttending) return true;
  if (state != kAsleep) return false;
  std::uint32_t asleep = kAsleep;
  if (!bell.compare_exchange_strong(asleep, kAwake)) return false;
  futex_wake(bell, 1, FutexScope::kShared);
  return true;
}

}  // namespace

// When there is work for a poll(): 0 for now, a time, or kNothing.
std::int64_t ShmTransport::next_work() const {
  const NodeSet bad = failed();
  std::int64_t next = kNothing;
  for (unsigned node = 0; node < nodes_ && next > 0; ++node) {
    const auto from = static_cast<NodeId>(node);
    if (!contains(bad, from)) next = std::min(next, next_delivery(from));
  }
  for (NodeSet waiting = overflowing_.load() & ~bad; waiting != 0 && next > 0; waiting &= waiting - 1) {
    if (can_flush(static_cast<NodeId>(std::countr_zero(waiting)))) next = 0;
  }
  return next;
}

std::int64_t ShmTransport::next_delivery(NodeId from) const {
  const Inbox& box = inboxes_[from];
  const std::uint64_t number = box.consumed.load(std::memory_order_relaxed);
  const Slot& slot = box.ring->slot(number);
  const std::uint64_t packed = slot.word.load();
  if (is_empty(packed, number)) return kNothing;
  const std::int64_t due_ns = slot.due_ns.load(std::memory_order_relaxed);
  // A slot that poll() will complain about is work for now.
  return complaint(unpack(packed), number, from, due_ns) == nullptr ? due_ns : 0;
}

bool ShmTransport::can_flush(NodeId to) const {
  const Outbox& box = outboxes_[to];
  return box.produced.load(std::memory_order_relaxed) - box.ring->consumed.load() != kRingSlots;
}

void ShmTransport::ring_bells(NodeId node, Waiter first) {
  Mailbox& mailbox = *views_[node].mailbox;
  if (first == Waiter::kAccess && ring(mailbox.bell(Waiter::kAccess))) return;
  ring(mailbox.bell(Waiter::kService));  // not asleep: it has yet to pass S1
}

void ShmTransport::ring_stalled(NodeId sender) {
  const Inbox& box = inboxes_[sender];
  box.ring->consumed.exchange(box.consumed.load(std::memory_order_relaxed));  // again, now before the look: S5
  if (box.ring->stalled.load() != 0) ring_bells(sender);
}

void ShmTransport::wait(Waiter who, std::int64_t timeout_ns) {
  const std::uint32_t awake = who == Waiter::kAccess ? kAttending : kAwake;
  DSM_CHECK(who != Waiter::kAccess || access_claimed_.load(std::memory_order_relaxed), "wait without claim_access");
  std::atomic<std::uint32_t>& bell = views_[self_].mailbox->bell(who);
  const bool woken = bell.exchange(kAsleep) == kWoken;
  const std::int64_t next = woken ? 0 : next_work();
  const std::int64_t until_due = next == 0 || next == kNothing ? next : next - now_ns();
  std::int64_t spin_ns = 0;
  if (woken || timeout_ns == 0) {
    spin_ns = 0;
  } else if (next == kNothing) {
    futex_wait(bell, kAsleep, FutexScope::kShared, timeout_ns);
  } else if (until_due <= 0 && polling_.load(std::memory_order_relaxed)) {
    // Somebody is at it. A thread of higher priority must sleep, not yield, for him to get the CPU back.
    futex_wait(bell, kAsleep, FutexScope::kShared,
               timeout_ns < 0 ? kOtherPollsNs : std::min(timeout_ns, kOtherPollsNs));
  } else if (until_due > kSleepAtLeastNs) {
    const std::int64_t sleep_ns = until_due - kWakeUpNs;
    futex_wait(bell, kAsleep, FutexScope::kShared, timeout_ns < 0 ? sleep_ns : std::min(timeout_ns, sleep_ns));
  } else {
    spin_ns = timeout_ns < 0 ? until_due : std::min(timeout_ns, until_due);
  }
  if (bell.exchange(awake) == kWoken || spin_ns <= 0) return;

  const std::int64_t end = now_ns() + spin_ns;  // awake meanwhile: nobody needs to ring
  while (now_ns() < end && bell.load() != kWoken) cpu_relax();
  if (bell.load() == kWoken) bell.exchange(awake);
}

bool ShmTransport::claim_access() {
  if (access_claimed_.load(std::memory_order_relaxed) || access_claimed_.exchange(true, std::memory_order_acquire)) {
    return false;
  }
  views_[self_].mailbox->bell(Waiter::kAccess).exchange(kAttending);
  return true;
}

void ShmTransport::release_access() {
  DSM_CHECK(access_claimed_.load(std::memory_order_relaxed), "release_access without claim_access");
  views_[self_].mailbox->bell(Waiter::kAccess).exchange(kAwake);
  const bool left = next_work() != kNothing;
  access_claimed_.store(false, std::memory_order_release);
  if (left) ring(views_[self_].mailbox->bell(Waiter::kService));
}

void ShmTransport::wake(Waiter who) {
  std::atomic<std::uint32_t>& bell = views_[self_].mailbox->bell(who);
  if (bell.exchange(kWoken) == kAsleep) futex_wake(bell, 1, FutexScope::kShared);
}

}  // namespace dsm::net::shm
