#include "proto/eviction.h"

#include <algorithm>

#include "base/check.h"

namespace dsm::proto {
namespace {

// Measured over the traces of bench_eviction. With longer rests (a half, a third) it hits up to 0.7 % more, and faults
// half as often again to see that.
constexpr std::uint64_t kYoungShare = 10;      // one in so many
constexpr std::uint64_t kRememberedTimes = 2;  // so many capacities of departures are remembered
constexpr std::uint64_t kLooksForLost = 8;     // a victim that enters again passes the others at most so often

// One in so many of those that rest is clean: about as many as go at a time. With one in two, 3 to 28 % more pages are
// written home over those traces than if nothing were cleaned, because they change again; with this, 1 to 8 %.
constexpr std::uint64_t kCleanShare = 8;

// How many pages at a queue's end are to rest.
constexpr std::uint64_t young_resting(std::uint64_t size) { return size / 3; }
constexpr std::uint64_t main_resting(std::uint64_t size) { return size / 5; }

}  // namespace

PageId Eviction::Ring::pop() {
  const PageId page = at(tail++);
  cleaned = std::max(cleaned, tail);
  rested = std::max(rested, tail);
  return page;
}

Eviction::Eviction(Frame* frames, PageId* young, PageId* main, std::uint32_t capacity)
    : frames_(frames),
      capacity_(capacity),
      young_target_(std::max<std::uint64_t>(capacity / kYoungShare, 1)),
      young_{young, ring_slots(capacity)},
      main_{main, ring_slots(capacity)} {}

bool Eviction::remembered(const Frame& frame) const {
  return frame.left != 0 && departures_ - frame.left < kRememberedTimes * capacity_;
}

void Eviction::push(Frame::Queue queue, PageId page) {
  frames_[page].queue = queue;
  (queue == Frame::Queue::kYoung ? young_ : main_).push(page);
}

bool Eviction::stays(Frame& frame) { return frame.reuse.stays(frame.back.exchange(false, std::memory_order_relaxed)); }

// Whether main's oldest page is reused. If so it gets another round, so that each question asks another page.
bool Eviction::main_is_in_use() {
  if (main_.size() + young_target_ < capacity_) return false;  // there is room beside it
  if (main_.tail == main_.rested || !stays(frames_[main_.at(main_.tail)])) return false;
  main_.push(main_.pop());
  return true;
}

void Eviction::enter(PageId page) {
  Frame& frame = frames_[page];
  if (frame.queue != Frame::Queue::kNone) return;
  DSM_CHECK(!full(), "{} pages in a cache of {}", size(), capacity_);
  const bool to_main = remembered(frame) && !main_is_in_use();
  frame.left = 0;
  frame.back.store(false, std::memory_order_relaxed);
  push(to_main ? Frame::Queue::kMain : Frame::Queue::kYoung, page);
}

void Eviction::enter_in_place_of_lost(PageId page) {
  if (frames_[page].queue != Frame::Queue::kNone) return;  // it has lost its bytes, and kept its place
  std::uint64_t looks = kLooksForLost * size();
  for (PageId other = 0; full() && next_victim(other); --looks) {
    DSM_CHECK(looks != 0, "more than {} pages are in a cache of {}", kPlaces * capacity_, capacity_);
    if (frames_[other].here.load(std::memory_order_relaxed)) enter(other);
  }
  enter(page);
}

bool Eviction::next_rest(PageId& page) {
  if (young_.rested - young_.tail < young_resting(young_.size())) {
    page = young_.at(young_.rested++);
    return true;
  }
  while (main_.rested - main_.tail < main_resting(main_.size())) {
    page = main_.at(main_.rested++);
    if (!frames_[page].reuse.spared()) return true;
  }
  return false;
}

bool Eviction::next_clean(PageId& page) {
  return next_clean(young_, young_resting(young_.size()) / kCleanShare, page) ||
         next_clean(main_, main_resting(main_.size()) / kCleanShare, page);
}

bool Eviction::next_clean(Ring& ring, std::uint64_t most, PageId& page) {
  while (ring.cleaned < std::min(ring.tail + most, ring.rested)) {
    page = ring.at(ring.cleaned++);
    const Frame& frame = frames_[page];  // one that stays has a long time here before it
    if (!frame.back.load(std::memory_order_relaxed) && !frame.reuse.sure()) return true;
  }
  return false;
}

PageId Eviction::leave(PageId page, bool remember) {
  Frame& frame = frames_[page];
  frame.queue = Frame::Queue::kNone;
  frame.reuse = {};
  ++departures_;
  if (departures_ == 0) departures_ = 1;  // 0 says "never"
  frame.left = remember ? departures_ : 0;
  return page;
}

bool Eviction::next_victim(PageId& page) {
  std::uint64_t rounds = main_.size();  // when all of main is in use, its oldest goes nevertheless
  while (size() != 0) {
    const bool from_young = young_.size() > young_target_ || main_.size() == 0;
    const bool asked = from_young || main_.tail != main_.rested;  // else there are none left that rest
    const PageId oldest = from_young ? young_.pop() : main_.pop();
    if (asked && stays(frames_[oldest]) && (from_young || rounds-- > 0)) {
      push(Frame::Queue::kMain, oldest);
      continue;
    }
    page = leave(oldest, from_young);
    return true;
  }
  return false;
}

}  // namespace dsm::proto
