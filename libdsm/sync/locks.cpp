// mutex and shared_mutex: a lock is a slot's latch, nothing else.
#include "insight/recorder.h"
#include "runtime/latch_lock.h"
#include "runtime/node.h"
#include "sync/handle.h"

namespace dsm {
namespace {

using runtime::Hold;

constexpr const char* kMutex = "dsm::mutex";
constexpr const char* kSharedMutex = "dsm::shared_mutex";

void note_taken(PageId page) {
  ++insight::held_locks.count;
  insight::held_locks.last = page;
}

void take(const detail::slot& slot, const char* kind, Hold hold) {
  const PageId page = sync::page_of(slot, kind);
  if (!runtime::latch_lock(runtime::node(), page, hold)) [[unlikely]] {
    sync::misuse(kind, &slot, "locked by a thread that holds it already");
  }
  note_taken(page);
}

bool try_take(const detail::slot& slot, const char* kind, Hold hold) {
  const PageId page = sync::page_of(slot, kind);
  const bool taken = runtime::latch_try_lock(runtime::node(), page, hold);
  if (taken) note_taken(page);
  return taken;
}

void give(const detail::slot& slot, const char* kind, Hold hold) {
  --insight::held_locks.count;
  if (!runtime::latch_unlock(runtime::node(), sync::page_of(slot, kind), hold)) [[unlikely]] {
    sync::misuse(kind, &slot,
                 hold == Hold::kExclusive ? "unlock() by a thread that does not hold it"
                                          : "unlock_shared() on a node where no thread holds it");
  }
}

}  // namespace

void mutex::lock() { take(slot_, kMutex, Hold::kExclusive); }
bool mutex::try_lock() { return try_take(slot_, kMutex, Hold::kExclusive); }
void mutex::unlock() { give(slot_, kMutex, Hold::kExclusive); }

void shared_mutex::lock() { take(slot_, kSharedMutex, Hold::kExclusive); }
bool shared_mutex::try_lock() { return try_take(slot_, kSharedMutex, Hold::kExclusive); }
void shared_mutex::unlock() { give(slot_, kSharedMutex, Hold::kExclusive); }
void shared_mutex::lock_shared() { take(slot_, kSharedMutex, Hold::kShared); }
bool shared_mutex::try_lock_shared() { return try_take(slot_, kSharedMutex, Hold::kShared); }
void shared_mutex::unlock_shared() { give(slot_, kSharedMutex, Hold::kShared); }

}  // namespace dsm
