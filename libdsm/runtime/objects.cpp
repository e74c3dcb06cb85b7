#include "runtime/objects.h"

#include <sys/mman.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/latency.h"
#include "base/meta_layout.h"
#include "base/signals.h"
#include "runtime/node.h"
#include "runtime/object_queues.h"
#include "runtime/pages.h"
#include "runtime/service.h"

namespace dsm::runtime {
namespace {

// So long a waiting thread keeps the program's signals blocked at a stretch.
constexpr std::int64_t kSliceNs = 50'000'000;

enum State : std::uint64_t { kLeft = 0, kOpen = 1, kClosing = 2 };
constexpr std::uint64_t kStateMask = 3;
constexpr std::uint64_t kOneGeneration = 4;

constexpr std::uint64_t in_state(std::uint64_t word, State state) { return (word & ~kStateMask) | state; }

// An event that changes nothing: the protocol just considers again what it has put off.
constexpr proto::Event kReconsider{.kind = proto::EventKind::kPrefetch, .access = Access::kNone};

// Loads come after the stores before, for the compiler; revokers see to the processor (pins.h).
void publish() { std::atomic_signal_fence(std::memory_order_seq_cst); }

}  // namespace

Result<std::unique_ptr<Objects>> Objects::create(Node& node) {
  const std::size_t bytes = node.geometry.memory_pages() * sizeof(std::atomic<std::uint64_t>);
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return fail(Errc::kNoMemory, "no address space for the table of object pages");
  ::madvise(pages, bytes, MADV_DONTFORK);
  pins_barrier();  // registers for it
  return std::unique_ptr<Objects>(new Objects(node, static_cast<std::atomic<std::uint64_t>*>(pages)));
}

Objects::Objects(Node& node, std::atomic<std::uint64_t>* pages)
    : node_(node), pages_(pages), queues_(std::make_unique<ObjectQueues>(node)) {
  serve();
}
Objects::~Objects() = default;

// --- pins -----------------------------------------------------------------------------------------------------------

std::uint64_t Objects::page_word(std::uint64_t address) const {
  return pages_[node_.geometry.page_of(address)].load(std::memory_order_acquire);
}

bool Objects::holds_all(std::uint64_t address, std::uint64_t bytes) const {
  const PageId last = node_.geometry.page_of(address + bytes - 1);
  for (PageId page = node_.geometry.page_of(address); page <= last; ++page) {
    if (!is_open(pages_[page].load(std::memory_order_acquire))) return false;
  }
  return true;
}

void Objects::pin(Pin& pin, std::uint64_t address, std::uint64_t bytes, PinKind kind) {
  pin.kind.store(kind, std::memory_order_relaxed);
  pin.bytes.store(bytes, std::memory_order_relaxed);
  pin.address.store(address, std::memory_order_release);
  publish();
  if (!holds_all(address, bytes)) [[unlikely]]
    enter(pin);
}

void Objects::let_pages_go(Pin& pin) {
  const std::uint64_t address = pin.address.load(std::memory_order_relaxed);
  const std::uint64_t bytes = pin.bytes.load(std::memory_order_relaxed);
  pin.kind.store(PinKind::kCopy, std::memory_order_release);
  publish();
  if (!holds_all(address, bytes)) [[unlikely]]
    reconsider(address, bytes);
}

void Objects::unpin(Pin& pin) {
  const bool held = pin.holds_pages();
  const std::uint64_t address = pin.address.load(std::memory_order_relaxed);
  const std::uint64_t bytes = pin.bytes.load(std::memory_order_relaxed);
  pin.copy.store(nullptr, std::memory_order_relaxed);
  pin.address.store(0, std::memory_order_release);
  publish();
  if (held && !holds_all(address, bytes)) [[unlikely]]
    reconsider(address, bytes);
}

// The borrow that has ended may have been what a page that is to leave waited for.
void Objects::reconsider(std::uint64_t address, std::uint64_t bytes) {
  const PageId last = node_.geometry.page_of(address + bytes - 1);
  for (PageId page = node_.geometry.page_of(address); page <= last; ++page) {
    if ((pages_[page].load() & kStateMask) != kClosing) continue;
    const SignalsBlocked blocked;
    node_.pages->event(page, kReconsider);
    node_.pages->notify_change(node_.pages->entry(page).changed);  // raw accesses of this node wait for pins, too
  }
}

void Objects::enter(Pin& pin) {
  const Geometry& geometry = node_.geometry;
  const std::uint64_t address = pin.address.load();
  const PageId first = geometry.page_of(address);
  const PageId last = geometry.page_of(address + pin.bytes.load() - 1);
  for (PageId at = first; at <= last;) {
    if (geometry.home(at) == node_.self && !geometry.interleaved(at)) node_.service->share_chunk(at);
    const PageId end = std::min(last + 1, (at / kPagesPerChunk + 1) * kPagesPerChunk);
    const SignalsBlocked blocked;
    node_.pages->hint({at, static_cast<std::uint32_t>(end - at)},
                      {.kind = proto::EventKind::kFault, .access = Access::kObject});
    at = end;
  }
  for (PageId page = first; page <= last; ++page) enter_page(pin, page);
}

void Objects::enter_page(Pin& pin, PageId page) {
  Entry& entry = node_.pages->entry(page);
  std::atomic<std::uint64_t>& word = pages_[page];
  for (;;) {
    const SignalsBlocked blocked;
    if (is_open(word.load())) return;
    entry.lock.lock();
    const std::uint32_t seen = entry.changed.load();
    const bool here = entry.page.access == Access::kObject;
    if (here && !entry.page.look_asked) word.store(in_state(word.load(), kOpen));  // nobody waits for it any more
    const bool stay = here && (is_open(word.load()) || pin.owner->holds_others(&pin));
    entry.lock.unlock();
    if (stay) return;  // the pin was published before the entry's lock was taken: whoever closes it sees it now
    if (here) {
      // It is to leave: out of its way, and in again once it is back.
      const std::uint64_t address = pin.address.exchange(0);
      node_.pages->event(page, kReconsider);
      if ((word.load() & kStateMask) == kClosing) node_.pages->await_change(entry.changed, seen, kSliceNs);
      pin.address.store(address);
    } else {
      node_.pages->event(page, {.kind = proto::EventKind::kFault, .access = Access::kObject});
      if (!is_open(word.load())) node_.pages->await_change(entry.changed, seen, kSliceNs);
    }
  }
}

// --- the page protocol ----------------------------------------------------------------------------------------------

bool Objects::pinned(PageId page) const {
  const std::uint64_t begin = node_.geometry.address_of(page);
  bool any = false;
  for_each_pin([&](const Pin& pin) { any |= pin.holds_pages() && pin.overlaps(begin, kPageBytes); });
  return any;
}

bool Objects::may_leave(PageId page) {
  std::atomic<std::uint64_t>& word = pages_[page];
  if (is_open(word.load())) word.store(in_state(word.load(), kClosing));
  pins_barrier();
  if (pinned(page)) return false;
  if (ObjectCopies* copies = copies_.load()) copies->leaving(page);
  return true;
}

void Objects::left(PageId page) {
  pages_[page].store(in_state(pages_[page].load(), kLeft));
  if (ObjectCopies* copies = copies_.load()) copies->left(page);
  count(node_.stats->object_leave);
}

void Objects::entered(PageId page) {
  pages_[page].store(in_state(pages_[page].load() + kOneGeneration, kOpen));
  count(node_.stats->object_enter);
}

// Of the pins those of other threads matter: this one's own may not hold up its own access.
bool Objects::close_for_raw(PageId page, std::uint64_t address, pid_t tid, bool may_wait) {
  static_cast<void>(address);
  Entry& entry = node_.pages->entry(page);
  for (;;) {
    entry.lock.lock();
    const std::uint32_t seen = entry.changed.load();
    std::atomic<std::uint64_t>& word = pages_[page];
    if (is_open(word.load())) word.store(in_state(word.load(), kClosing));
    pins_barrier();
    bool others = false;
    const std::uint64_t begin = node_.geometry.address_of(page);
    for_each_pin([&](const Pin& pin) {
      others |= pin.owner->tid.load() != tid && pin.holds_pages() && pin.overlaps(begin, kPageBytes);
    });
    entry.lock.unlock();
    if (!others) return true;
    if (!may_wait) return false;
    node_.pages->await_change(entry.changed, seen, kSliceNs);
  }
}

}  // namespace dsm::runtime
