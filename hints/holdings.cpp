// Objects of other nodes with which this node works: one thread at a time, and what it keeps by transfer.
#include <mutex>
#include <new>
#include <optional>

#include "base/check.h"
#include "base/signals.h"
#include "hints/cache.h"
#include "runtime/node.h"
#include "runtime/waits.h"

namespace dsm::hints {

// Where the holding of the address hangs, or would hang.
Holding** Cache::find_holding(std::uint64_t address) {
  Holding** at = &holdings_[hash(address) % kHoldingBuckets];
  while (*at != nullptr && (*at)->address != address) at = &(*at)->next;
  return at;
}

void Cache::forget_holding(Holding** at) {
  Holding* holding = *at;
  *at = holding->next;
  slab_.give(reinterpret_cast<std::byte*>(holding), sizeof(Holding));
}

Holding* Cache::try_hold(std::uint64_t address, runtime::CallSite site) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  Holding** at = find_holding(address);
  if (*at == nullptr) *at = ::new (slab_.take(sizeof(Holding))) Holding{.address = address};
  if ((*at)->holder != nullptr) return nullptr;
  (*at)->holder = &runtime::my_pins();
  (*at)->site = site;
  return *at;
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
      Holding** at = find_holding(address);
      if (*at == nullptr) *at = ::new (slab_.take(sizeof(Holding))) Holding{.address = address};
      holding = *at;
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
  holding.holder = nullptr;
  holding.working = false;
  if (holding.recalled) give_back(holding);
  holding.changed.fetch_add(1);
  if (holding.waiting != 0) {
    futex_wake(holding.changed, 1, FutexScope::kProcess);
  } else if (!holding.standing) {
    forget_holding(find_holding(holding.address));
  }
}

// A call-back runs under the lock, too: either it has changed the header by now, or it will find the holding.
bool Cache::adopt(Holding& holding, Copy& copy, proto::Header word) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  if (!node_.objects->stands_here(holding.address, proto::version_of(word))) {
    doom(copy);
    return false;
  }
  copy.word.store(proto::at_rest(word), std::memory_order_relaxed);
  holding.dirty = false;
  holding.working = true;
  stand(holding, copy);
  return true;
}

void Cache::replace(Holding& holding, Copy& copy) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  copy.word.store(holding.copy->word.load(), std::memory_order_relaxed);
  holding.dirty = true;
  stand(holding, copy);
}

// Under the lock. A snapshot that was taken before is not put into the table any more.
void Cache::stand(Holding& holding, Copy& copy) {
  copy.standing.store(true, std::memory_order_relaxed);
  forgotten_.fetch_add(1);
  runtime::pins_barrier();
  drop_recent(holding.address, holding.address + 1);
  if (Copy* there = find_in_table(holding.address)) {
    there->standing.store(false, std::memory_order_relaxed);
    unlink(*there);
    doom(*there);
  }
  link(copy, holding.address);
  holding.standing = true;
  holding.copy = &copy;
}

bool Cache::begin_standing(Holding& holding) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  return holding.working = holding.standing;
}

bool Cache::stands(std::uint64_t address) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  const Copy* const copy = find_in_table(address);
  return copy != nullptr && copy->standing.load();
}

namespace {

// The borrow of a thread that works with what stands here and touches its page raw: no page leaves under any other.
// nullptr: it is over.
proto::Borrow* borrow_of(const Holding& holding) {
  proto::Borrow* found = nullptr;
  if (!holding.working) return found;
  holding.holder->for_each([&](const runtime::Pin& pin) {
    if (pin.address.load() == holding.address && pin.kind.load() == runtime::PinKind::kWrite)
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
  const runtime::ObjectAt object{holding.address, have ? holding.copy->bytes.load() : 1,
                                 have ? holding.copy->data : nullptr};
  const proto::BorrowEvent event{.kind = proto::BorrowEventKind::kGiveBack,
                                 .have = have,
                                 .changed = have && holding.dirty,
                                 .keep = goes_on != nullptr,
                                 .copy = have ? holding.copy->word.load() : 0};
  const bool kept = node_.objects->give_back(borrow, object, event) == proto::Outcome::kReleased;
  holding.recalled = holding.standing = false;
  if (!have) return;
  if (goes_on != nullptr && kept) {
    *goes_on = {.stage = proto::BorrowStage::kHeld, .wish = proto::Wish::kWrite, .word = borrow.word};
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

void Cache::recalled(std::uint64_t address) {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  Holding** at = find_holding(address);
  if (*at == nullptr) {
    Holding unknown{.address = address};
    return give_back(unknown);
  }
  Holding& holding = **at;
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
      give_back(**at);
      if ((*at)->holder == nullptr && (*at)->waiting == 0) forget_holding(at);
    }
  }
}

}  // namespace dsm::hints
