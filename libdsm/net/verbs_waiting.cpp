// Sleeping and waking. Two waiters sleep on two descriptors each: the mail channel's, where the card reports arrivals,
// and a bell of its own, which this process rings. Why no message is stranded:
//
// V1. The arrivals' queue is armed, or an event of it lies in the channel, or the thread that has taken the event out
//     is about to arm it again and then to drain it. So a thread that drains, finds nothing and sleeps on the channel
//     will be woken by whatever comes after.
// V2. A message to oneself is queued, then the bells are read; a waiter sets its bell to asleep, then looks at the
//     queue.
// V3. Who comes out of wait() as the access waiter waits again, which looks first, or releases, which looks and rings
//     the service thread if anything is left. The service thread polls.
// V4. Room in a window comes as a credit, which is an arrival; an overflow with room is work, as in V2.
// An arrival wakes both waiters if both sleep; the one that finds nothing sleeps again.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/check.h"
#include "net/verbs_impl.h"

namespace dsm::net::verbs {
namespace {

enum Bell : std::uint32_t { kAwake, kAsleep, kWoken, kAttending };

constexpr std::int64_t kOtherPollsNs = 50'000;

constexpr std::size_t index(Waiter who) { return static_cast<std::size_t>(who); }

}  // namespace

bool VerbsTransport::work() const {
  if (arrived_.load() != taken_.load() || own_waiting_.load() != 0) return true;
  for (NodeSet waiting = overflowing_.load() & ~failed(); waiting != 0; waiting &= waiting - 1) {
    if (may_send(outboxes_[static_cast<std::size_t>(std::countr_zero(waiting))])) return true;
  }
  return false;
}

// Whether that waiter will look because of this.
bool VerbsTransport::ring(Waiter who) {
  std::atomic<std::uint32_t>& bell = bells_[index(who)];
  const std::uint32_t state = bell.load();
  if (state == kAttending) return true;
  std::uint32_t asleep = kAsleep;
  if (state != kAsleep || !bell.compare_exchange_strong(asleep, kAwake)) return false;
  const std::uint64_t one = 1;
  const int saved_errno = errno;
  const ssize_t wrote = ::write(bell_fds_[index(who)], &one, sizeof one);
  errno = saved_errno;
  DSM_CHECK(wrote == sizeof one, "cannot ring a bell");
  return true;
}

void VerbsTransport::wait(Waiter who, std::int64_t timeout_ns) {
  DSM_CHECK(who != Waiter::kAccess || access_claimed_.load(std::memory_order_relaxed), "wait without claim_access");
  std::atomic<std::uint32_t>& bell = bells_[index(who)];
  if (bell.exchange(kAsleep) != kWoken) {
    drain();
    if (!work()) {
      if (timeout_ns != 0) sleep(who, true, timeout_ns);
    } else if (polling_.load(std::memory_order_relaxed) && timeout_ns != 0) {
      // Somebody is at it. A thread of higher priority must sleep, not yield, for him to get the CPU back.
      sleep(who, false, timeout_ns < 0 ? kOtherPollsNs : std::min(timeout_ns, kOtherPollsNs));
    }
  }
  bell.exchange(who == Waiter::kAccess ? kAttending : kAwake);
}

void VerbsTransport::sleep(Waiter who, bool for_messages, std::int64_t timeout_ns) {
  const int saved_errno = errno;
  pollfd events[2] = {{bell_fds_[index(who)], POLLIN, 0}, {mail_.channel->fd, POLLIN, 0}};
  const timespec limit{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  const int ready = ::ppoll(events, for_messages ? 2 : 1, timeout_ns < 0 ? nullptr : &limit, nullptr);
  if (ready > 0 && (events[0].revents & POLLIN) != 0) {
    std::uint64_t rings = 0;
    // Nothing there: it was for a sleep that had ended.
    if (::read(events[0].fd, &rings, sizeof rings) < 0) DSM_CHECK(errno == EAGAIN, "errno {}", errno);
  }
  if (ready > 0 && (events[1].revents & POLLIN) != 0) take_event();
  errno = saved_errno;
}

void VerbsTransport::take_event() {
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  while (library_.get_cq_event(mail_.channel.get(), &queue, &context) == 0) {
    library_.ack_cq_events(queue, 1);
    ibv_req_notify_cq(queue, 0);
    if (queue == sends_cq_.get()) {
      reap_sends();
    } else {
      drain();
    }
  }
}

bool VerbsTransport::claim_access() {
  if (access_claimed_.load(std::memory_order_relaxed) || access_claimed_.exchange(true, std::memory_order_acquire)) {
    return false;
  }
  bells_[index(Waiter::kAccess)].exchange(kAttending);
  return true;
}

void VerbsTransport::release_access() {
  DSM_CHECK(access_claimed_.load(std::memory_order_relaxed), "release_access without claim_access");
  bells_[index(Waiter::kAccess)].exchange(kAwake);
  const bool left = work();
  access_claimed_.store(false, std::memory_order_release);
  if (left) ring(Waiter::kService);
}

void VerbsTransport::wake(Waiter who) {
  std::atomic<std::uint32_t>& bell = bells_[index(who)];
  if (bell.exchange(kWoken) != kAsleep) return;
  const std::uint64_t one = 1;
  const int saved_errno = errno;
  const ssize_t wrote = ::write(bell_fds_[index(who)], &one, sizeof one);
  errno = saved_errno;
  DSM_CHECK(wrote == sizeof one, "cannot ring a bell");
}

}  // namespace dsm::net::verbs
