// Pages that nodes gain for one store each, by turns: flags, tickets, single counters. The thread itself gives such a
// page on as soon as its store has run (mem/fault_engine.h, kStep); nobody has to be woken to find out that it has.
//
// Which pages are like that is learnt. As a trial the page is closed to a second store when the first has run, while
// all else goes on as ever: that costs a step and, if there is a second store, a fault. After two trials in a row
// without one the page is given on at once; one time in 125 is a trial again. A second store ends it all, and the next
// 120 times are not tried. Entry::brief counts: below 0, times not to be tried; from kSure on, times given on at once.
//
// Who has given a page on and wants it back need not nudge the node that has it now: that looks for waiters when its
// store has run. The nudge is only sent if that takes long.

#include "base/clock.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/pages.h"
#include "runtime/wire.h"

namespace dsm::runtime {
namespace {

constexpr std::int8_t kSure = 2;
constexpr std::int8_t kTryAgain = 127;
constexpr std::int8_t kNotSoon = -120;
// For how long the program has to run without a second store: its fault alone takes some microseconds to be told.
constexpr std::int64_t kTrialNs = 10'000;
// So long after it gave the page on a node may count on getting it back unasked, and so long does it wait then.
constexpr std::uint32_t kJustGaveUs = 50;
constexpr std::int64_t kUnaskedNs = 25'000;
// Twice it did not come: for some times it is asked for at once.
constexpr std::uint8_t kLateTwice = 2;
constexpr std::uint8_t kForgiven = 32;

}  // namespace

namespace {

// An unmodified program hands pages to system calls behind a store of its own, and they must not be closed by then.
bool steps(const Node& node) {
  return node.config.step != 0 && node.config.keep_us == 0 && node.program != Program::kUnmodified &&
         node.local == nullptr && node.engine->faults_inline();
}

}  // namespace

// Under the entry's lock: the verdict for an access that may run now. `waited`: another node had to give way.
mem::FaultVerdict Pages::let_run(Entry& entry, Access wanted, bool waited) {
  const bool shared = waited || entry.page.look_asked || entry.page.migratory;
  const bool may_step = shared && wanted == Access::kWrite && entry.page.fresh && entry.page.access == Access::kWrite &&
                        !entry.user_locks && steps(node_);
  if (!may_step) return mem::FaultVerdict::kRetry;
  if (entry.brief >= 0) return mem::FaultVerdict::kStep;
  ++entry.brief;
  return mem::FaultVerdict::kRetry;
}

void Pages::on_ran(std::uintptr_t address, pid_t tid) {
  const PageId page = node_.geometry.page_of(address);
  Entry& entry = table_[page];
  entry.lock.lock();
  const bool raw = entry.page.access == Access::kWrite && entry.page.fresh;
  if (raw && entry.user_tid == tid && !entry.page.keeps) {
    if (entry.brief < kSure) {
      node_.engine->lower({page, 1});
      entry.one_store = true;
      entry.user_cpu_ns = thread_cpu_ns(tid) + kTrialNs;  // the page may not go before (holds.h)
    } else {
      run_locked(page, entry, {.kind = proto::EventKind::kUsed});
      if (entry.page.access == Access::kWrite) {
        run_locked(page, entry, {.kind = proto::EventKind::kMessage, .node = node_.self});
      }
      if (++entry.brief == kTryAgain) entry.brief = kSure - 1;
    }
  }
  entry.lock.unlock();
}

void Pages::note_second_store(Entry& entry) {
  if (!entry.one_store) return;
  entry.one_store = false;
  entry.brief = kNotSoon;
}

void Pages::note_given_up(Entry& entry) {
  if (entry.one_store && entry.brief >= 0) ++entry.brief;
  entry.one_store = false;
  if (entry.brief >= kSure && entry.page.access == Access::kNone) entry.granted_us = clock_us();
}

// Whether the page, which this node has just given on, may come back unasked.
bool Pages::comes_back(Entry& entry) const {
  if (entry.brief < kSure || clock_us() - entry.granted_us > kJustGaveUs) return false;
  if (entry.came_late < kLateTwice) return true;
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
