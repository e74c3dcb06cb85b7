// Pages that nodes gain for one store each, by turns: flags, tickets, single counters. This node makes such a store in
// the program's stead (mem/emulated_access.h) and gives the page on in the same fault; nobody has to be woken to find
// out that the store has run.
//
// Which pages are like that is learnt. As a trial the page stays closed to a second store, while all else goes on as
// ever: that costs, if there is a second store, a fault. After two trials in a row without one the page is given on at
// once; one time in 125 is a trial again. A second store ends it all, and the next 120 times are not tried.
// Entry::brief counts: below 0, times not to be tried; from kSure on, times given on at once.
//
// Such a page does not even come into the program's view, since it would have to be taken out again: the load before
// the store (is it my turn?) is made in its stead, too. If the program loads again, it is mapped (Entry::closed).
//
// Who has given a page on and wants it back need not nudge the node that has it now: that looks for waiters when its
// store has run. The nudge is only sent if that takes long.

#include "base/clock.h"
#include "mem/emulated_access.h"
#include "runtime/node.h"
#include "runtime/pages.h"
#include "runtime/wire.h"

namespace dsm::runtime {
namespace {

constexpr std::int8_t kSure = 2;
constexpr std::int8_t kTryAgain = 127;
constexpr std::int8_t kNotSoon = -120;
// For how long the program has to run without a second store: its fault alone takes some microseconds to be told.
constexpr std::int64_t kTrialNs = 10'000;
// So long after it gave the page on a node may count on getting it back unasked, and so long does it wait then. To ask
// for it wakes two threads, which takes as long as some turns, and takes a CPU away from somebody who has one.
constexpr std::uint32_t kJustGaveUs = 200;
constexpr std::int64_t kUnaskedNs = 100'000;
// So often in a row it did not come: for some times it is asked for at once.
constexpr std::uint8_t kLateOften = 4;
constexpr std::uint8_t kForgiven = 32;

// An unmodified program hands pages to system calls behind a store of its own, and they must not be closed by then.
bool makes_accesses(const Node& node) {
  return node.config.one_store != 0 && node.config.keep_us == 0 && node.program != Program::kUnmodified &&
         node.local == nullptr;
}

}  // namespace

// Whether this node may make the access for the program, once the page is here.
bool Pages::may_make(const mem::Fault& fault, const Entry& entry) const {
  return fault.context != nullptr && !entry.user_locks && makes_accesses(node_);
}

// Whether it will make the access, so that the page need not come into the program's view.
bool Pages::stays_closed(const mem::Fault& fault, const Entry& entry) const {
  return entry.brief >= kSure && may_make(fault, entry);
}

bool Pages::make_access(const mem::Fault& fault, const Entry& entry) const {
  std::byte* const where = node_.service_view + (fault.address - node_.geometry.base);
  if (!mem::emulate_access(*fault.context, fault.address, where, entry.page.access)) return false;
  count(node_.stats->emulated);
  return true;
}

// If it is a page's one store.
bool Pages::make_store(const mem::Fault& fault, Entry& entry, bool waited) {
  const bool shared = waited || entry.page.look_asked || entry.page.migratory;
  if (!shared || !entry.page.fresh || entry.page.keeps || mapped_as(entry.page.access) != Access::kWrite) return false;
  if (entry.brief < 0) {
    ++entry.brief;
    return false;
  }
  if (!make_access(fault, entry)) {
    entry.brief = kNotSoon;
    return false;
  }
  const PageId page = node_.geometry.page_of(fault.address);
  entry.stored = true;
  if (entry.brief < kSure) {
    if (!entry.closed) node_.engine->lower({page, 1});
    entry.one_store = true;
    entry.user_cpu_ns = thread_cpu_ns(fault.tid) + kTrialNs;  // the page may not go before (holds.h)
    run_locked(page, entry, {.kind = proto::EventKind::kMessage, .node = node_.self});
    return true;
  }
  run_locked(page, entry, {.kind = proto::EventKind::kUsed});
  if (entry.page.access == Access::kWrite) {
    run_locked(page, entry, {.kind = proto::EventKind::kMessage, .node = node_.self});
  }
  if (++entry.brief == kTryAgain) entry.brief = kSure - 1;
  return true;
}

// Under the entry's lock: the access may run now, or does here. `waited`: another node had to give way.
void Pages::let_run(const mem::Fault& fault, Entry& entry, bool waited) {
  bool made = false;
  if (may_make(fault, entry)) {
    made =
        fault.wanted == Access::kWrite ? make_store(fault, entry, waited) : entry.closed && make_access(fault, entry);
  }
  if (entry.closed && !made) map_again(node_.geometry.page_of(fault.address), entry);
}

void Pages::note_second_store(Entry& entry) {
  if (!entry.one_store) return;
  entry.one_store = false;
  entry.brief = kNotSoon;
}

void Pages::note_given_up(Entry& entry) {
  if (entry.one_store && entry.brief >= 0) ++entry.brief;
  entry.one_store = false;
  if (entry.page.access != Access::kNone) return;
  entry.closed = false;
  if (entry.stored) entry.granted_us = clock_us();
}

void Pages::note_no_store(Entry& entry) {
  if (entry.closed) entry.brief = 0;
}

// Whether the page, which this node has just given on, may come back unasked.
bool Pages::comes_back(Entry& entry) const {
  const bool just_gave = entry.stored && entry.page.access == Access::kNone && entry.brief >= kSure;
  if (!just_gave || clock_us() - entry.granted_us > kJustGaveUs) return false;
  if (entry.came_late < kLateOften) return true;
  if (++entry.came_late == kForgiven) entry.came_late = 0;
  return false;
}

// Enters and leaves without the entry's lock.
void Pages::await_unasked(Entry& entry, std::uint32_t seen, LateNudge& late) {
  const std::int64_t end = now_ns() + kUnaskedNs;
  for (std::int64_t left = kUnaskedNs; left > 0 && entry.changed.load() == seen; left = end - now_ns()) {
    await_change(entry.changed, seen, left);
  }
  const bool came = entry.changed.load() != seen;
  if (!came) send_pages(node_, late.to, late.message);
  entry.lock.lock();
  entry.came_late = came ? std::uint8_t{0} : static_cast<std::uint8_t>(entry.came_late + 1);
  entry.lock.unlock();
  late.to = 0;
}

}  // namespace dsm::runtime
