// Objects of other nodes with which this node works: one thread at a time, and what it keeps by transfer or habit.
#include <algorithm>
#include <mutex>
#include <new>
#include <optional>

#include "base/check.h"
#include "base/signals.h"
#include "base/tsan.h"
#include "hints/cache.h"
#include "runtime/node.h"
#include "runtime/waits.h"

namespace dsm::hints {

namespace {

// An object that stands here by habit should be changed so often before it is called back: a call costs two wake-ups
// and some messages, a change elsewhere two round trips.
constexpr std::uint32_t kPays = 16;
// What is waited for at the most: few calls are then lost in many changes.
constexpr std::uint32_t kMostChanges = 256;
// The part of the cache that one object may have to stand here by habit.
constexpr std::uint64_t kLargestShare = 16;

// Whether what stands is just these bytes.
bool is_itself(const Holding& standing, std::uint64_t address, std::uint64_t bytes) {
  // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): what stands has a copy
  return standing.copy->address.load() == address && standing.copy->bytes.load() == bytes;
}

}  // namespace

// Where the holding of the address hangs, or would hang.
Holding** Cache::find_holding(std::uint64_t address) {
  Holding** at = &holdings_[hash(address) % kHoldingBuckets];
  while (*at != nullptr && (*at)->granule != granule_of(address)) at = &(*at)->next;
  return at;
}

Holding** Cache::find_or_make_holding(std::uint64_t address) {
  Holding** const at = find_holding(address);
  if (*at == nullptr) *at = ::new (slab_.take(sizeof(Holding))) Holding{.granule = granule_of(address)};
  return at;
}

void Cache::forget_holding(Holding** at) {
  Holding* holding = *at;
  *at = holding->next;
  slab_.give(reinterpret_cast<std::byte*>(holding), sizeof(Holding));
}

Holding* Cache::try_hold(std::uint64_t address, std::uint64_t bytes, runtime::CallSite site) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  Holding* const holding = *find_or_make_holding(address);
  if (holding->holder != nullptr) return nullptr;
  holding->holder = &runtime::my_pins();
  holding->site = site;
  begin(*holding, address, bytes);
  return holding;
}

Holding* Cache::hold(std::uint64_t address, runtime::CallSite site, runtime::CallSite* earlier) {
  runtime::ThreadPins& me = runtime::my_pins();
  std::optional<runtime::Waiting> waiting;
  for (bool waited = false;; waited = true) {
    Holding* holding = nullptr;
    std::uint32_t seen = 0;
    {
      const SignalsBlocked blocked;
      const std::lock_guard guard(lock_);
      holding = *find_or_make_holding(address);
      holding->waiting -= waited ? 1 : 0;
      if (holding->holder == nullptr) {
        holding->holder = &me;
        holding->site = site;
        return holding;
      }
      if (holding->holder == &me) {
        *earlier = holding->site;
        return nullptr;
      }
      ++holding->waiting;
      seen = holding->changed.load();
    }
    if (!waited) {
      waiting.emplace(me, runtime::WaitKind::kObject, address, site);
      if (node_.config.check != 0) runtime::trace_callers(me);
    }
    futex_wait(holding->changed, seen, FutexScope::kProcess);
  }
}

void Cache::let_go(Holding& holding) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  end_hold(holding);
}

// Under the lock.
void Cache::end_hold(Holding& holding) {
  holding.holder = nullptr;
  holding.working = false;
  if (holding.recalled) give_back(holding);
  holding.changed.fetch_add(1);
  if (holding.waiting != 0) {
    futex_wake(holding.changed, 1, FutexScope::kProcess);
  } else if (!holding.standing) {
    forget_holding(find_holding(holding.granule));
  }
}

// A call-back runs under the lock, too: either it has changed the header by now, or it will find the holding.
bool Cache::adopt(Holding& holding, std::uint64_t address, Copy& copy, proto::Header word, bool by_habit) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  if (!node_.objects->stands_here(address, proto::version_of(word))) {
    doom(copy);
    return false;
  }
  copy.word.store(proto::at_rest(word), std::memory_order_relaxed);
  holding.dirty = false;
  holding.working = true;
  holding.by_habit = by_habit;
  holding.kept = 0;
  forgotten_.fetch_add(1);  // a snapshot that was taken before is not put into the table any more
  runtime::pins_barrier();
  drop_recent(address, address + 1);
  stand(holding, address, copy);
  return true;
}

// Nobody has fetched it meanwhile: who asks the home learns that it stands here.
void Cache::end_standing(Holding& holding, Copy* newer) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  if (newer != nullptr && !holding.standing) {
    doom(*newer);  // the block has been freed
  } else if (newer != nullptr) {
    newer->word.store(holding.copy->word.load(), std::memory_order_relaxed);
    holding.dirty = true;
    ++holding.kept;
    stand(holding, holding.copy->address.load(), *newer);
  }
  end_hold(holding);
}

// Under the lock.
void Cache::stand(Holding& holding, std::uint64_t address, Copy& copy) {
  copy.standing.store(true, std::memory_order_relaxed);
  if (Copy* there = find_locked(address)) {
    there->standing.store(false, std::memory_order_relaxed);
    unlink(*there);
    doom(*there);
  }
  link(copy, address);
  holding.standing = true;
  holding.copy = &copy;
}

bool Cache::begin_standing(Holding& holding, std::uint64_t address, std::uint64_t bytes) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  return begin(holding, address, bytes);
}

// Under the lock.
bool Cache::begin(Holding& holding, std::uint64_t address, std::uint64_t bytes) {
  if (!holding.standing) return false;
  const bool itself = is_itself(holding, address, bytes);
  if (!itself) give_back(holding);
  return holding.working = itself;
}

bool Cache::stands(std::uint64_t address, std::uint64_t bytes) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  const Holding* const holding = *find_holding(address);
  return holding != nullptr && holding->standing && is_itself(*holding, address, bytes);
}

bool Cache::stands_across(std::uint64_t address, std::uint64_t bytes) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  const Holding* const holding = *find_holding(address);
  if (holding == nullptr || !holding->standing) return false;
  const std::uint64_t begin = holding->copy->address.load(), length = holding->copy->bytes.load();
  return !is_itself(*holding, address, bytes) && begin < address + bytes && address < begin + length;
}

bool Cache::should_stand(std::uint64_t bytes, unsigned changes) const {
  return least_changes_ != 0 && changes >= changes_due_.load(std::memory_order_relaxed) &&
         bytes <= limit_ / kLargestShare;
}

// Under the lock: somebody else wants what stands here by habit. Was it worth it?
void Cache::learn(const Holding& holding) {
  if (!holding.standing || !holding.by_habit) return;
  const std::uint32_t due = changes_due_.load(std::memory_order_relaxed);
  const std::uint32_t next = holding.kept >= kPays ? due / 2 : std::min(due * 2, kMostChanges);
  changes_due_.store(std::max(next, least_changes_), std::memory_order_relaxed);
}

namespace {

// The borrow of a thread that works with what stands here and touches its page raw: no page leaves under any other.
// nullptr: it is over.
proto::Borrow* borrow_of(const Holding& holding) {
  proto::Borrow* found = nullptr;
  if (!holding.working) return found;
  holding.holder->for_each([&](const runtime::Pin& pin) {
    if (pin.address.load() == holding.copy->address.load() && pin.kind.load() == runtime::PinKind::kWrite)
      found = &const_cast<runtime::Pin&>(pin).borrow;
  });
  return found;
}

}  // namespace

// Under the lock. Gives a standing object back to its home; of one that this node has been given without knowing it,
// only the hold. A thread that works with it, and touches its page raw, keeps it locked.
void Cache::give_back(Holding& holding) {
  proto::Borrow borrow;
  const bool have = holding.standing;
  proto::Borrow* const goes_on = have ? borrow_of(holding) : nullptr;
  if (have) holding.copy->standing.store(false);  // who looks at it from now on asks the home, and then waits for us
  const runtime::ObjectAt object{have ? holding.copy->address.load() : holding.granule,
                                 have ? holding.copy->bytes.load() : 1, have ? holding.copy->data : nullptr};
  const proto::BorrowEvent event{.kind = proto::BorrowEventKind::kGiveBack,
                                 .have = have,
                                 .changed = have && holding.dirty,
                                 .keep = goes_on != nullptr,
                                 .copy = have ? holding.copy->word.load() : 0};
  const bool kept = node_.objects->give_back(borrow, object, event) == proto::Outcome::kReleased;
  holding.standing = holding.recalled = false;
  if (!have) return;
  if (goes_on != nullptr && kept) {
    tsan_after(goes_on);  // its thread is in its access until the page is mapped
    *goes_on = {.stage = proto::BorrowStage::kHeld, .wish = proto::Wish::kWrite, .word = borrow.word};
    tsan_before(goes_on);
  }
  if (holding.dirty) count(node_.stats->object_write_back);
  holding.dirty = false;
  Copy& copy = *holding.copy;
  holding.copy = nullptr;
  if (kept) {
    copy.word.store(proto::at_rest(borrow.word));
  } else {
    unlink(copy);
    doom(copy);
  }
}

// Under the lock: what stands here by habit goes home for want of room, unless somebody is about to work with it.
void Cache::give_back_idle(std::uint64_t address) {
  Holding** const at = find_holding(address);
  if (!(*at)->by_habit || (*at)->holder != nullptr || (*at)->waiting != 0) return;
  give_back(**at);
  forget_holding(at);
}

void Cache::recalled(std::uint64_t address) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  Holding** at = find_holding(address);
  if (*at == nullptr) {
    Holding unknown{.granule = address};
    return give_back(unknown);
  }
  Holding& holding = **at;
  learn(holding);
  if (holding.standing && holding.working) {
    holding.recalled = true;
    return;
  }
  // A thread may wait in the home's queue for just that, or for a page that waits for it.
  give_back(holding);
  if (holding.holder == nullptr && holding.waiting == 0) forget_holding(at);
}

// No borrow holds the page. A thread may be about to begin one: it finds the object standing no more.
void Cache::leaving(PageId page) {
  const std::lock_guard guard(lock_);
  const std::uint64_t begin = node_.geometry.address_of(page), end = begin + kPageBytes;
  for (Copy* list : {pages_[page % kPageLists], spanning_}) {
    for (Copy *copy = list, *next = nullptr; copy != nullptr; copy = next) {
      next = copy->page_next;
      const std::uint64_t address = copy->address.load();
      if (!copy->standing.load() || address >= end || address + copy->bytes.load() <= begin) continue;
      Holding** at = find_holding(address);
      DSM_CHECK(*at != nullptr && (*at)->copy == copy, "a standing copy of {:#x} that nobody holds", address);
      learn(**at);
      give_back(**at);
      if ((*at)->holder == nullptr && (*at)->waiting == 0) forget_holding(at);
    }
  }
}

}  // namespace dsm::hints
