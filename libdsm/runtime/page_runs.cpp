// How Pages runs the protocol over one page and over several: their locks, and the memory that a batch works in.
#include <algorithm>
#include <bit>

#include "runtime/batch.h"
#include "runtime/local_memory.h"
#include "runtime/node.h"
#include "runtime/pages.h"

namespace dsm::runtime {

void Pages::run_locked(PageId page, Entry& entry, const proto::Event& event, LateNudge* late) {
  Item item{&entry, page, event, {}, true};
  net::Op ops[kOpsPerPage];
  std::byte* const landing = node_.local != nullptr ? take_landing() : nullptr;
  Batch{node_, {&item, 1}, ops, landing, event.kind == proto::EventKind::kFresh, late}.run();
  if (landing != nullptr) give_landing(landing);
}

// nullptr if all are in use.
std::byte* Pages::take_landing() {
  for (std::uint64_t used = landings_used_.load(); used != ~std::uint64_t{0};) {
    const auto free = static_cast<unsigned>(std::countr_one(used));
    if (landings_used_.compare_exchange_weak(used, used | std::uint64_t{1} << free)) {
      return landings_ + free * kPageBytes;
    }
  }
  return nullptr;
}

void Pages::give_landing(std::byte* landing) {
  landings_used_.fetch_and(~(std::uint64_t{1} << static_cast<std::size_t>(landing - landings_) / kPageBytes));
}

void Pages::event(PageId page, const proto::Event& event) {
  Entry& entry = table_[page];
  entry.lock.lock();
  run_locked(page, entry, event);
  entry.lock.unlock();
}

// How many pages from the first one on may be one batch: one home, no private chunk.
std::uint32_t Pages::clip(PageRange pages) const {
  const Geometry& geometry = node_.geometry;
  if (!geometry.has_bytes(pages.first)) return 1;
  const PageId boundary = geometry.interleaved(pages.first)
                              ? geometry.interleaved_first() +
                                    ((pages.first - geometry.interleaved_first()) / kGranulePages + 1) * kGranulePages
                              : (pages.first / kPagesPerChunk + 1) * kPagesPerChunk;
  return static_cast<std::uint32_t>(std::min<PageId>({pages.count, boundary - pages.first, kMaxBatch}));
}

// Runs the event for the first pages of the range and returns for how many. With `insist` at least one, else only those
// whose locks are free at once.
std::uint32_t Pages::run_batch(PageRange pages, const proto::Event& event, bool insist) {
  if (node_.space->state(pages.first) != mem::ChunkState::kShared) return insist ? clip(pages) : 0;
  return with_locks(pages, insist, [&](Batch& batch) {
    const auto missing = [&] {
      return std::ranges::count_if(batch.items, [](const Item& item) {
        return item.entry->page.access == Access::kNone && !item.entry->page.ahead;
      });
    };
    const bool ahead = proto::is_ahead(event.kind);
    const auto missing_before = ahead ? missing() : 0;
    for (Item& item : batch.items) {
      item.event = event;
      if (ahead) item.event.access = foresee(item.page, *item.entry, event.access);
      item.active = true;
    }
    batch.map_later = event.kind == proto::EventKind::kFresh;
    batch.run();
    if (ahead)
      count(node_.stats->readahead_pages,
            static_cast<std::uint64_t>(std::max<std::ptrdiff_t>(missing_before - missing(), 0)));
  });
}

// nullptr if all are in use.
Workspace* Pages::borrow_space() {
  for (std::size_t space = 0; space < kWorkspaces; ++space) {
    if (space_locks_[space].try_lock()) return &spaces_[space];
  }
  return nullptr;
}

void Pages::return_space(Workspace* space) { space_locks_[static_cast<std::size_t>(space - spaces_)].unlock(); }

std::uint32_t Pages::lock_pages(PageRange pages, bool insist, std::span<Item> items) {
  const auto count = std::min<std::uint32_t>(clip(pages), static_cast<std::uint32_t>(items.size()));
  std::uint32_t held = 0;
  for (; held < count; ++held) {
    Entry& entry = table_[pages.first + held];
    if (insist && held == 0) {
      entry.lock.lock();
    } else if (!entry.lock.try_lock()) {
      break;
    }
    items[held] = Item{&entry, pages.first + held, {}, {}, false};
  }
  return held;
}

void Pages::hint(PageRange pages, proto::Event event) {
  Room room(node_.local.get());
  if (proto::is_ahead(event.kind) && takes_room(pages.first)) {
    pages.count = room.spare(pages.count);     // what does not fit is not fetched
    event.kind = proto::EventKind::kPrefetch;  // nor asked for (read_ahead)
  }
  while (pages.count != 0) {
    const std::uint32_t done = run_batch(pages, event, true);
    pages = {pages.first + done, pages.count - done};
  }
}

}  // namespace dsm::runtime
