#include "runtime/objects.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "base/clock.h"
#include "base/latency.h"
#include "base/meta_layout.h"
#include "base/signals.h"
#include "base/sparse.h"
#include "runtime/deadlock.h"
#include "runtime/misuse.h"
#include "runtime/node.h"
#include "runtime/object_queues.h"
#include "runtime/pages.h"
#include "runtime/service.h"
#include "runtime/waits.h"

namespace dsm::runtime {
namespace {

enum State : std::uint64_t { kLeft = 0, kOpen = 1, kClosing = 2 };
constexpr std::uint64_t kStateMask = 3;
constexpr std::uint64_t kOneGeneration = 4;

constexpr std::uint64_t in_state(std::uint64_t word, State state) { return (word & ~kStateMask) | state; }

}  // namespace

Result<std::unique_ptr<Objects>> Objects::create(Node& node) {
  auto* const pages = map_sparse<std::atomic<std::uint64_t>>(node.geometry.memory_pages(), AtFork::kAbsent);
  if (pages == nullptr) return fail(Errc::kNoMemory, "no address space for the table of object pages");
  if (auto registered = register_pins_barrier(); !registered) return tl::unexpected(registered.error());
  return std::unique_ptr<Objects>(new Objects(node, pages));
}

Objects::Objects(Node& node, std::atomic<std::uint64_t>* pages)
    : node_(node), pages_(pages), queues_(std::make_unique<ObjectQueues>(node)) {
  serve();
}
Objects::~Objects() = default;

void Objects::begin_borrows(ObjectCopies* copies) {
  copies_.store(copies);
  start_deadlock_search(node_);
}

// --- pins -----------------------------------------------------------------------------------------------------------

const std::atomic<std::uint64_t>* Objects::slice_pages() const {
  return pages_ + node_.geometry.slice_first(node_.self);
}

// Whether the word of any of the object's pages is as asked.
template <typename Is>
bool Objects::any_page(std::uint64_t address, std::uint64_t bytes, Is is) const {
  const PageRange pages = node_.geometry.pages_of(address, bytes);
  for (PageId page = pages.first; page < pages.end(); ++page) {
    if (is(pages_[page].load())) return true;
  }
  return false;
}

bool Objects::holds_all(std::uint64_t address, std::uint64_t bytes) const {
  return !any_page(address, bytes, [](std::uint64_t word) { return !is_open(word); });
}

namespace {

// The thread runs, so its raw access has been made: the next page of which it borrows is not to be taken for one that
// it touches.
void end_raw_access(ThreadPins& thread) {
  if (thread.raw_page.load(std::memory_order_relaxed) != 0) [[unlikely]]
    thread.raw_page.store(0);
}

}  // namespace

void Objects::pin(Pin& pin, std::uint64_t address, std::uint64_t bytes, PinKind kind) {
  end_raw_access(*pin.owner);
  pin.publish(address, bytes, kind);
  if (!holds_all(address, bytes)) [[unlikely]]
    enter(pin);
}

bool Objects::try_pin(Pin& pin, std::uint64_t address, std::uint64_t bytes, PinKind kind) {
  end_raw_access(*pin.owner);
  pin.publish(address, bytes, kind);
  if (holds_all(address, bytes)) return true;
  unpin(pin);
  return false;
}

std::uint64_t Objects::stamp(std::uint64_t address, std::uint64_t bytes) const {
  const PageRange pages = node_.geometry.pages_of(address, bytes);
  std::uint64_t sum = 0;  // generations only grow
  for (PageId page = pages.first; page < pages.end(); ++page) {
    sum += pages_[page].load(std::memory_order_acquire) / kOneGeneration;
  }
  return sum;
}

void Objects::let_pages_go(Pin& pin) {
  const std::uint64_t address = pin.address.load(std::memory_order_relaxed);
  const std::uint64_t bytes = pin.bytes.load(std::memory_order_relaxed);
  pin.kind.store(PinKind::kCopy, std::memory_order_release);
  pin_fence();
  if (!holds_all(address, bytes)) [[unlikely]]
    reconsider(address, bytes);
}

// After let_pages_go(). False: they may have left meanwhile. The pin is not published at times, so the copy that it
// keeps is lost then.
bool Objects::regain_pages(Pin& pin, PinKind kind, std::uint64_t stamp_before) {
  const std::uint64_t address = pin.address.load(std::memory_order_relaxed);
  const std::uint64_t bytes = pin.bytes.load(std::memory_order_relaxed);
  pin.kind.store(kind, std::memory_order_release);
  pin_fence();
  if (holds_all(address, bytes)) return stamp(address, bytes) == stamp_before;
  pin.owner->granted.store(address);
  enter(pin);
  pin.owner->granted.store(0);
  return false;
}

void Objects::unpin(Pin& pin) {
  const bool held = pin.holds_pages();
  const std::uint64_t address = pin.address.load(std::memory_order_relaxed);
  const std::uint64_t bytes = pin.bytes.load(std::memory_order_relaxed);
  pin.copy.store(nullptr, std::memory_order_relaxed);
  pin.address.store(0, std::memory_order_release);
  pin_fence();
  if (held && !holds_all(address, bytes)) [[unlikely]]
    reconsider(address, bytes);
}

// The borrow that has ended may have been what a page waited for that is to leave, or to go from this node.
void Objects::reconsider(std::uint64_t address, std::uint64_t bytes) {
  const PageRange pages = node_.geometry.pages_of(address, bytes);
  for (PageId page = pages.first; page < pages.end(); ++page) {
    if (is_open(pages_[page].load())) continue;
    const SignalsBlocked blocked;
    node_.pages->event(page, kReconsider);
  }
}

// A chunk's pages are asked for together, and the next chunk's when those are here. While it waits the pin is not
// published: a page that is to leave must not wait for it.
void Objects::enter(Pin& pin) {
  const Geometry& geometry = node_.geometry;
  const std::uint64_t address = pin.address.load();
  const PageRange pages = geometry.pages_of(address, pin.bytes.load());
  for (PageId at = pages.first; at < pages.end(); at = (at / kPagesPerChunk + 1) * kPagesPerChunk) {
    if (geometry.lent(at) && home_of(geometry.address_of(at)) == kNoNode) {
      end_for_misuse("a borrow of memory that was never allocated:", address, pin.site, "", {});
    }
    if (geometry.home(at) != node_.self || geometry.interleaved(at)) continue;
    if (node_.space->state(at) == mem::ChunkState::kUnused) {
      end_for_misuse("a borrow of memory that was never allocated:", address, pin.site, "", {});
    }
    node_.service->share_chunk(at);
  }
  do {
    pin.address.store(0);
    reconsider(address, pin.bytes.load());
    for (PageId at = pages.first; at < pages.end();) {
      const PageId next = std::min(pages.end(), (at / kPagesPerChunk + 1) * kPagesPerChunk);
      const SignalsBlocked blocked;
      const bool nested = my_pins().holds_others_up();
      std::optional<Waiting> waiting;
      if (nested)
        waiting.emplace(my_pins(), WaitKind::kObjectPage, std::max(address, geometry.address_of(at)), pin.site);
      const bool there = node_.pages->gain_for_objects({at, static_cast<std::uint32_t>(next - at)}, nested);
      if (!there) end_for_misuse("a borrow of memory that was never allocated:", address, pin.site, "", {});
      at = next;
    }
    pin.address.store(address);
  } while (!holds_now(pin));
}

// The pin stays published, so the pages are this node's all the time.
void Objects::take_back(Pin& pin) {
  const std::uint64_t address = pin.address.load(std::memory_order_relaxed);
  const std::uint64_t bytes = pin.bytes.load(std::memory_order_relaxed);
  end_raw_access(*pin.owner);
  const PageRange pages = node_.geometry.pages_of(address, bytes);
  while (!holds_now(pin)) {
    const SignalsBlocked blocked;
    for (PageId page = pages.first; page < pages.end(); ++page) {
      if (!has_left(page)) continue;
      const bool there = node_.pages->gain_for_objects({page, 1}, true);
      DSM_CHECK(there, "page {} is kept, and does not exist", page);
    }
  }
}

// Whether the published pin keeps all its pages: open ones, since who closes them sees it; closing ones if they are
// still here, since who decides that they leave does so under the entry's lock.
bool Objects::holds_now(const Pin& pin) {
  const PageRange pages = node_.geometry.pages_of(pin.address.load(), pin.bytes.load());
  for (PageId page = pages.first; page < pages.end(); ++page) {
    if (is_open(pages_[page].load())) continue;
    const SignalsBlocked blocked;
    Entry& entry = node_.pages->entry(page);
    entry.lock.lock();
    const bool holds = open(page);
    entry.lock.unlock();
    if (!holds) return false;
  }
  return true;
}

// --- the page protocol ----------------------------------------------------------------------------------------------

bool Objects::open(PageId page) const {
  const std::uint64_t word = pages_[page].load();
  if (is_open(word)) return true;
  return (word & kStateMask) == kClosing && my_pins().holds_others_up();
}

bool Objects::has_left(PageId page) const { return (pages_[page].load() & kStateMask) == kLeft; }

bool Objects::closing(std::uint64_t address, std::uint64_t bytes) const {
  if (address == 0 || bytes == 0 || !node_.geometry.holds(address + bytes - 1)) return false;  // read as it changed
  return any_page(address, bytes, [](std::uint64_t word) { return (word & kStateMask) == kClosing; });
}

bool Objects::go_on(PageId page) const {
  const std::uint64_t begin = node_.geometry.address_of(page);
  const bool left = has_left(page);
  bool any = false;
  for_each_pin([&](const Pin& pin) {
    const bool counts = left || pin.owner->raw_page.load() == page + 1;
    any |= counts && pin.holds_pages() && pin.overlaps(begin, kPageBytes);
  });
  return any;
}

bool Objects::may_leave(PageId page, bool wanted_here) {
  std::atomic<std::uint64_t>& word = pages_[page];
  if (is_open(word.load())) word.store(in_state(word.load(), kClosing));
  pins_barrier();
  const std::uint64_t begin = node_.geometry.address_of(page);
  bool held = false;
  for_each_pin([&](const Pin& pin) {
    const bool waits = wanted_here && pin.owner->raw_page.load() == page + 1;
    held |= !waits && pin.holds_pages() && pin.overlaps(begin, kPageBytes);
  });
  if (held) {
    note_wait_begun();
    return false;
  }
  if (ObjectCopies* copies = copies_.load()) copies->leaving(page);
  return true;
}

void Objects::left(PageRange pages) {
  ObjectCopies* const copies = copies_.load();
  for (PageId page = pages.first; page < pages.end(); ++page) {
    pages_[page].store(in_state(pages_[page].load(), kLeft));
    if (copies != nullptr) copies->left(page);
  }
}

void Objects::entered(PageRange pages) {
  for (PageId page = pages.first; page < pages.end(); ++page) {
    pages_[page].store(in_state(pages_[page].load() + kOneGeneration, kOpen));
  }
  // Who touched one of them raw has done so, or asks again.
  for_each_thread([&](ThreadPins& thread) {
    std::uint64_t raw = thread.raw_page.load();
    if (raw - 1 - pages.first < pages.count) thread.raw_page.compare_exchange_strong(raw, 0);
  });
}

bool Objects::raw_touch(PageId page, std::uintptr_t address, pid_t tid) {
  bool beside = false;
  for_each_thread([&](ThreadPins& thread) {
    if (thread.tid.load() != tid) return;
    thread.for_each([&](const Pin& pin) {
      if (!pin.holds_pages() || !pin.overlaps(node_.geometry.address_of(page), kPageBytes)) return;
      if (pin.overlaps(address, 1)) end_for_raw_access(node_, pin, address);
      beside = true;
    });
    if (beside) thread.raw_page.store(page + 1);
  });
  return beside;
}

}  // namespace dsm::runtime
