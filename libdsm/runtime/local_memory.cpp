#include "runtime/local_memory.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>

#include "base/allocation_gate.h"
#include "base/check.h"
#include "base/signals.h"
#include "base/sparse.h"
#include "runtime/batch.h"
#include "runtime/node.h"
#include "runtime/pages.h"

namespace dsm::runtime {
namespace {

constexpr std::uint32_t kStallRound = 16;         // pages a fault puts out that has to make room itself
constexpr std::int64_t kLookAgainNs = 1'000'000;  // when all pages are being worked on
constexpr std::uint32_t kBurst = 16;              // pages that have to come before "dsm-evict" is woken
constexpr std::uint32_t kMostAhead = 32 << 20 >> kPageShift;

std::uint32_t ahead_of(const Node& node, std::uint32_t bound) {
  const auto percent = static_cast<std::uint32_t>(node.config.evict_ahead);
  return std::clamp(bound / 100 * percent, std::uint32_t{16}, kMostAhead);
}

// Calls act(pages) for those of each home, in order.
template <typename Do>
void for_each_home(const Geometry& geometry, std::span<PageId> pages, Do act) {
  const auto place = [&geometry](PageId page) { return std::pair(geometry.home(page), page); };
  std::sort(pages.begin(), pages.end(), [&](PageId a, PageId b) { return place(a) < place(b); });
  for (std::size_t i = 0; i < pages.size();) {
    std::size_t end = i + 1;
    while (end < pages.size() && geometry.home(pages[end]) == geometry.home(pages[i])) ++end;
    act(std::span<const PageId>(pages.subspan(i, end - i)));
    i = end;
  }
}

// Calls act(run) for each run of consecutive pages.
template <typename Do>
void for_each_run(std::span<const PageId> pages, Do act) {
  for (std::size_t i = 0; i < pages.size();) {
    std::size_t end = i + 1;
    while (end < pages.size() && pages[end] == pages[i] + (end - i)) ++end;
    act(PageRange{pages[i], static_cast<std::uint32_t>(end - i)});
    i = end;
  }
}

bool at_rest(const proto::Page& page) { return page.phase == proto::Phase::kIdle; }

}  // namespace

Result<std::unique_ptr<LocalMemory>> LocalMemory::create(Node& node) {
  const auto bound = static_cast<std::uint32_t>(node.config.local_memory >> kPageShift);
  auto* frames = map_sparse<proto::Frame>(node.geometry.memory_pages(), AtFork::kAbsent);
  auto* young = map_sparse<PageId>(proto::Eviction::ring_slots(bound), AtFork::kAbsent);
  auto* main = map_sparse<PageId>(proto::Eviction::ring_slots(bound), AtFork::kAbsent);
  if (frames == nullptr || young == nullptr || main == nullptr) {
    return fail(Errc::kNoMemory, "no address space for the tables of the local memory", errno);
  }
  return std::unique_ptr<LocalMemory>(new LocalMemory(node, frames, young, main, bound));
}

LocalMemory::LocalMemory(Node& node, proto::Frame* frames, PageId* young, PageId* main, std::uint32_t bound)
    : node_(node),
      frames_(frames),
      bound_(bound),
      fill_to_(bound - ahead_of(node, bound)),
      wake_above_(fill_to_ + std::min(ahead_of(node, bound) / 2, kBurst)),
      policy_(frames, young, main, bound) {}

LocalMemory::~LocalMemory() {
  if (!thread_.joinable()) return;
  stopping_.store(true);
  ring();
  thread_.join();
}

void LocalMemory::start() {
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { loop(); });
}

bool LocalMemory::covers(PageId page) const {
  return node_.geometry.has_bytes(page) && node_.geometry.home(page) != node_.self;
}

// --- room -----------------------------------------------------------------------------------------------------------

void LocalMemory::make_room() {
  for (std::uint32_t charged = charged_.load();;) {
    if (charged < bound_) {
      if (!charged_.compare_exchange_weak(charged, charged + 1)) continue;
      if (charged + 1 > wake_above_) ring();
      return;
    }
    count(node_.stats->evict_stall);
    const std::uint32_t seen = cuts_.load();
    {
      const std::lock_guard guard(putting_out_);
      if (charged_.load() >= bound_) put_out(kStallRound);
    }
    charged = charged_.load();
    if (charged >= bound_) await_cut(seen);
  }
}

std::uint32_t LocalMemory::spare_room(std::uint32_t pages) {
  std::uint32_t charged = charged_.load();
  std::uint32_t got = 0;
  do {
    got = charged < bound_ ? std::min(pages, bound_ - charged) : 0;
  } while (got != 0 && !charged_.compare_exchange_weak(charged, charged + got));
  if (charged + got > wake_above_) ring();
  return got;
}

void LocalMemory::filled(PageId page) {
  proto::Frame& frame = frames_[page];
  if (frame.here.load(std::memory_order_relaxed)) return;
  frame.here.store(true, std::memory_order_relaxed);
  count(node_.stats->resident_pages);
  unwatched_.fetch_add(1, std::memory_order_relaxed);
  if (charged_.fetch_add(1) + 1 > wake_above_) ring();
  const std::lock_guard guard(lock_);
  policy_.enter_in_place_of_lost(page);
}

void LocalMemory::came_back(PageId page) {
  mapped(page);
  frames_[page].back.store(true, std::memory_order_relaxed);
}

// The bytes go; so do the mappings of them in both views.
void LocalMemory::cut(PageRange pages) {
  const int fd = node_.job->fds()[node_.self].memory_fd;
  const auto offset = static_cast<off_t>(pages.first << kPageShift);
  const auto bytes = static_cast<off_t>(std::uint64_t{pages.count} << kPageShift);
  while (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes) != 0) {
    DSM_CHECK(errno == EINTR, "cannot give back the memory of pages {}+{}: errno {}", pages.first, pages.count, errno);
  }
  std::uint32_t freed = 0;
  for (PageId page = pages.first; page < pages.end(); ++page) {
    if (here(page)) ++freed;
    frames_[page].here.store(false, std::memory_order_relaxed);
    frames_[page].resting.store(false, std::memory_order_relaxed);
  }
  if (freed == 0) return;
  node_.stats->resident_pages.fetch_sub(freed, std::memory_order_relaxed);
  charged_.fetch_sub(freed);
  cuts_.fetch_add(1);
  if (stalled_.load() != 0) futex_wake(cuts_, INT32_MAX, FutexScope::kProcess);
}

void LocalMemory::await_cut(std::uint32_t seen) {
  stalled_.fetch_add(1);
  if (cuts_.load() == seen) futex_wait(cuts_, seen, FutexScope::kProcess, kLookAgainNs);
  stalled_.fetch_sub(1);
}

void LocalMemory::read_out(PageRange pages, std::byte* to) const {
  const int fd = node_.job->fds()[node_.self].memory_fd;
  const std::size_t bytes = std::size_t{pages.count} << kPageShift;
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t got = ::pread(fd, to + done, bytes - done, static_cast<off_t>((pages.first << kPageShift) + done));
    DSM_CHECK(got > 0 || (got < 0 && errno == EINTR), "cannot read this node's memory file: errno {}", errno);
    if (got > 0) done += static_cast<std::size_t>(got);
  }
}

// --- putting out ----------------------------------------------------------------------------------------------------

// Calls act(batch) for pages that next(page) names while it does, so many at the most: all of one home together. Those
// that are being worked on are for busy(page). How many were named.
template <typename Next, typename Act, typename Busy>
std::uint32_t LocalMemory::for_chosen(std::uint32_t most, Next next, Act act, Busy busy) {
  std::array<PageId, kRound> pages;
  std::uint32_t chosen = 0;
  {
    const std::lock_guard guard(lock_);
    while (chosen < most && next(pages[chosen])) ++chosen;
  }
  for_each_home(node_.geometry, std::span(pages).first(chosen),
                [&](std::span<const PageId> of_one) { node_.pages->with_free_locks(of_one, act, busy); });
  return chosen;
}

void LocalMemory::put_out(std::uint32_t most) {
  const auto release = [this](Batch& batch) {
    for (Item& item : batch.items) {
      if (item.entry->page.access == Access::kWrite) count(node_.stats->evict_write);
      item.event = {.kind = proto::EventKind::kRelease};
      item.active = item.entry->page.access != Access::kObject;
    }
    batch.run();
    cut_released(batch);
  };
  for_chosen(
      most, [this](PageId& page) { return policy_.next_victim(page); }, release, [this](PageId page) { keep(page); });
}

// A page that is being worked on stays, and gets another turn.
void LocalMemory::keep(PageId page) {
  const std::lock_guard guard(lock_);
  if (here(page)) policy_.enter_in_place_of_lost(page);
}

void LocalMemory::cut_released(const Batch& batch) {
  std::array<PageId, kRound> released;
  std::size_t count_of_released = 0;
  for (const Item& item : batch.items) {
    const Access access = item.entry->page.access;  // work on objects is done at home
    if (at_rest(item.entry->page) && (access == Access::kNone || access == Access::kObject)) {
      item.entry->page.fetched = false;
      released[count_of_released++] = item.page;
    } else {
      keep(item.page);
    }
  }
  for_each_run(std::span(released).first(count_of_released), [this](PageRange run) { cut(run); });
  count(node_.stats->evicted, count_of_released);
}

// Writes pages home that are among the next to go, so that they cost no bytes then; false if there are none. They are
// out of the program's reach already: a store to one is a fault, which finds it closed to stores and dirties it anew.
bool LocalMemory::clean_some() {
  const auto clean = [this](Batch& batch) {
    for (Item& item : batch.items) {
      item.event = {.kind = proto::EventKind::kClean};
      item.active = at_rest(item.entry->page) && item.entry->page.access == Access::kWrite && here(item.page) &&
                    resting(item.page);
      if (item.active) count(node_.stats->cleaned);
    }
    batch.run();
  };
  const auto next = [this](PageId& page) { return policy_.next_clean(page); };
  return for_chosen(kRound, next, clean, [](PageId) {}) != 0;
}

bool LocalMemory::rest_is_due() const {
  return charged_.load(std::memory_order_relaxed) > fill_to_ &&
         unwatched_.load(std::memory_order_relaxed) >= kRestRound;
}

// The faulting thread does it: what it unmaps itself, on the CPU that has used it, no other CPU need be told if the
// program has no other thread at work. The thread "dsm-evict" would interrupt the program for every page (measured:
// half of that thread's time). Putting out resting pages unmaps nothing. While "dsm-evict" is awake this thread would
// interrupt it likewise, some 10 us for each page, so it waits for that to sleep, but no longer than it can.
// A thread that serves faults is on another CPU than the program in any case, and the next fault waits for it: there
// "dsm-evict" does it.
void LocalMemory::rest_some() {
  if (!rest_is_due()) return;
  if (!node_.engine->faults_inline()) return ring();
  const std::uint32_t most = std::min(bound_ - fill_to_, bound_ / 64);  // of a thirtieth that rests of the young ones
  if (awake_.load() && unwatched_.load(std::memory_order_relaxed) < most) return;
  if (!resting_some_.try_lock()) return;
  lay_to_rest();
  resting_some_.unlock();
}

// Takes pages out of the program's reach, all at once. Those that are being worked on are in use: they are left alone.
void LocalMemory::lay_to_rest() {
  std::array<PageId, kRound> pages;
  std::uint32_t chosen = 0;
  {
    const std::lock_guard guard(lock_);
    while (chosen < kRound && policy_.next_rest(pages[chosen])) ++chosen;
  }
  const std::uint32_t came = unwatched_.load(std::memory_order_relaxed);  // if there are more they are due at once
  unwatched_.store(chosen < kRound ? 0 : std::max(came, kRound + kRestRound) - kRound, std::memory_order_relaxed);
  std::sort(pages.begin(), pages.begin() + chosen);
  std::array<Entry*, kRound> held;
  std::uint32_t count_of_held = 0;
  for (std::uint32_t i = 0; i < chosen; ++i) {
    Entry& entry = node_.pages->entry(pages[i]);
    if (!entry.lock.try_lock()) continue;
    const Access access = entry.page.access;
    const bool raw = access == Access::kRead || access == Access::kWrite;
    if (raw && at_rest(entry.page) && here(pages[i]) && !resting(pages[i])) {
      pages[count_of_held] = pages[i];
      held[count_of_held++] = &entry;
    } else {
      entry.lock.unlock();
    }
  }
  std::array<PageRange, kRound> runs;
  std::size_t count_of_runs = 0;
  for_each_run(std::span(pages).first(count_of_held), [&](PageRange run) { runs[count_of_runs++] = run; });
  node_.engine->unmap_all(std::span(runs).first(count_of_runs));
  for (std::uint32_t i = 0; i < count_of_held; ++i) {
    unmapped(pages[i]);
    held[i]->lock.unlock();
  }
  count(node_.stats->rested, count_of_held);
}

bool LocalMemory::discard(PageRange pages) {
  bool all = true;
  while (pages.count != 0) {
    const std::uint32_t done = node_.pages->with_locks(pages, true, [&](Batch& batch) {
      for (Item& item : batch.items) {
        item.event = {.kind = proto::EventKind::kFresh};
        item.active = true;
      }
      batch.map_later = true;
      batch.run();
      for (std::size_t i = 0; i < batch.items.size(); ++i) {
        const proto::Page& page = batch.items[i].entry->page;
        const PageId number = batch.items[i].page;
        if (!at_rest(page) || page.access != Access::kWrite) {
          all = false;
          continue;
        }
        if (!resting(number)) node_.engine->unmap({number, 1});
        if (here(number)) cut({number, 1});
        unmapped(number);
      }
    });
    pages = {pages.first + done, pages.count - done};
  }
  return all;
}

// --- the thread -----------------------------------------------------------------------------------------------------

void LocalMemory::ring() {
  if (rung_.load() == 0 && rung_.exchange(1) == 0) futex_wake(rung_, 1, FutexScope::kProcess);
}

void LocalMemory::rest_if_due() {
  if (!node_.engine->faults_inline() && rest_is_due()) lay_to_rest();
}

void LocalMemory::loop() {
  const OwnAllocations own;
  ::prctl(PR_SET_NAME, "dsm-evict");
  for (;;) {
    rung_.store(0);
    if (stopping_.load()) return;
    rest_if_due();
    if (charged_.load() <= wake_above_) {
      if (clean_some()) continue;
      awake_.store(false);
      futex_wait(rung_, 0, FutexScope::kProcess);
      awake_.store(true);
      continue;
    }
    while (charged_.load() > fill_to_ && !stopping_.load()) {
      const std::uint32_t seen = cuts_.load();
      {
        const std::lock_guard guard(putting_out_);
        put_out(kRound);
      }
      rest_if_due();
      await_cut(seen);
    }
  }
}

}  // namespace dsm::runtime
