#include "sync/caller_queue.h"

#include <sys/mman.h>

#include "base/check.h"
#include "base/no_memory.h"
#include "base/sparse.h"

namespace dsm::sync {

CallerPool::CallerPool() {
  places_ = map_sparse<Place>(kPlaces);
  if (places_ == nullptr) end_without_memory("the queues of waiting callers");
}

CallerPool::~CallerPool() { ::munmap(places_, kPlaces * sizeof(Place)); }

std::uint32_t CallerPool::take() {
  if (first_free_ == 0) {
    DSM_CHECK(used_ < kPlaces, "no place left in the pool");
    return used_++;
  }
  const std::uint32_t place = first_free_;
  first_free_ = places_[place].next;
  return place;
}

void CallerPool::give(std::uint32_t place) {
  places_[place].next = first_free_;
  first_free_ = place;
}

void CallerQueue::push(CallerPool& pool, Caller caller) {
  const std::uint32_t place = pool.take();
  pool.places_[place] = {caller, 0};
  (first_ == 0 ? first_ : pool.places_[last_].next) = place;
  last_ = place;
  ++count_;
}

Caller CallerQueue::pop(CallerPool& pool) {
  DSM_CHECK(first_ != 0, "nobody waits");
  const std::uint32_t place = first_;
  const Caller caller = pool.places_[place].caller;
  first_ = pool.places_[place].next;
  --count_;
  pool.give(place);
  return caller;
}

bool CallerQueue::remove(CallerPool& pool, Caller caller) {
  std::uint32_t before = 0;
  for (std::uint32_t place = first_; place != 0; before = place, place = pool.places_[place].next) {
    const Caller waiting = pool.places_[place].caller;
    if (waiting.node != caller.node || waiting.call != caller.call) continue;
    (before == 0 ? first_ : pool.places_[before].next) = pool.places_[place].next;
    if (place == last_) last_ = before;
    --count_;
    pool.give(place);
    return true;
  }
  return false;
}

}  // namespace dsm::sync
