// Which page leaves a full cache. Pure: no threads, clocks or allocation; the caller holds a lock and owns the arrays.
//
// There are no accessed bits (userfaultfd has none), so reuse is sampled: the policy names pages that are to *rest*,
// the caller makes them inaccessible but keeps their bytes, and says which come back by a fault. The policy is S3-FIFO
// made for that:
//
//   enter -> | young: a tenth of all ..... its oldest third rests  | -> came back: to main; else out, remembered
//            | main ...................... its oldest fifth rests  | -> came back: another round; else out
//
// Pages that come back again and again are asked less often (proto/reuse.h).
//
// 1. A page that is touched once (a scan) leaves by the young queue and never costs a page of main.
// 2. A page that returns soon after it left (it is remembered) goes to main, but only in the place of one that shows no
//    reuse: a loop larger than the cache keeps most of main instead of washing it out.
// 3. A page is in one queue at most; `queue` says in which. Pages that lost their bytes otherwise stay until their
//    turn.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/types.h"
#include "proto/reuse.h"
#include "proto/rewrites.h"

namespace dsm::proto {

// What the policy keeps for a page. Zero: never seen.
struct Frame {
  enum class Queue : std::uint8_t { kNone, kYoung, kMain };
  std::uint32_t left = 0;  // which departure its last one from the young queue was
  Queue queue = Queue::kNone;
  std::atomic<bool> back{false};  // touched since it was rested: set by whoever sees it, without the lock
  std::atomic<bool> here{false};  // has bytes. The caller's, as the next
  std::atomic<bool> resting{false};
  Rewrites rewrites;  // the caller's
  Reuse reuse;        // while it is in the main queue, or comes from the young one
};
static_assert(sizeof(Frame) == 12);

class Eviction {
 public:
  // `frames` is indexed by page. Each queue needs `ring_slots(capacity)` slots.
  Eviction(Frame* frames, PageId* young, PageId* main, std::uint32_t capacity);
  static constexpr std::uint64_t ring_slots(std::uint32_t capacity) { return kPlaces * capacity; }

  void enter(PageId page);  // its bytes have come in
  // The same if the queues may be full: pages that have lost their bytes (Frame::here) give up their places. At least
  // one of a full cache has.
  void enter_in_place_of_lost(PageId page);
  // The next page to rest; false if enough of them rest.
  bool next_rest(PageId& page);
  // The next page that may be cleaned ahead of need: it rests, and is among the next to go.
  bool next_clean(PageId& page);
  // The next page to put out, which is in no queue from now on; false if there is none. enter() takes it back if it
  // cannot be put out.
  bool next_victim(PageId& page);
  std::uint64_t size() const { return young_.size() + main_.size(); }
  // No enter() until victims have been taken out: pages without bytes fill the queues.
  bool full() const { return size() >= kPlaces * capacity_; }

 private:
  static constexpr std::uint64_t kPlaces = 2;  // times the capacity: also for pages that have lost their bytes

  // [tail, rested) has been rested, [rested, head) has not. [tail, cleaned) has been named to be cleaned.
  struct Ring {
    PageId* slots;
    std::uint64_t capacity;
    std::uint64_t tail = 0, cleaned = 0, rested = 0, head = 0;

    std::uint64_t size() const { return head - tail; }
    PageId& at(std::uint64_t index) { return slots[index % capacity]; }
    void push(PageId page) { at(head++) = page; }
    PageId pop();
  };

  bool next_clean(Ring& ring, std::uint64_t most, PageId& page);
  bool remembered(const Frame& frame) const;
  bool main_is_in_use();
  bool stays(Frame& frame);
  void push(Frame::Queue queue, PageId page);
  PageId leave(PageId page, bool remember);

  Frame* const frames_;
  const std::uint64_t capacity_;
  const std::uint64_t young_target_;
  Ring young_, main_;
  std::uint32_t departures_ = 0;
};

}  // namespace dsm::proto
