#include "runtime/batch.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "base/clock.h"
#include "base/meta_layout.h"
#include "base/trace.h"
#include "runtime/holds.h"
#include "runtime/latch_lock.h"
#include "runtime/local_memory.h"
#include "runtime/lost.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/pages.h"
#include "runtime/service.h"
#include "runtime/waits.h"
#include "runtime/wire.h"

namespace dsm::runtime {
namespace {

using net::Region;

std::uint64_t latch_word(PageId page) { return latch_offset(page); }
std::uint64_t latch_waiters(PageId page) { return latch_offset(page) + sizeof(proto::Word); }

}  // namespace

proto::Place Batch::place() const {
  const PageId any = items[0].page;
  return {node.self, node.geometry.home(any), node.geometry.has_bytes(any)};
}

// Calls act(first index, count) for each run of active items, of consecutive pages, for which wanted(item) holds.
template <typename Wanted, typename Do>
void Batch::for_runs(Wanted wanted, Do act) {
  for (std::size_t i = 0; i < items.size();) {
    std::size_t end = i;
    while (end < items.size() && items[end].active && wanted(items[end]) &&
           items[end].page == items[i].page + (end - i)) {
      ++end;
    }
    if (end > i) act(i, end - i);
    i = std::max(end, i + 1);
  }
}

// Of a run those parts that are in the program's view.
template <typename Do>
void Batch::for_open(std::size_t at, std::size_t n, Do act) {
  const std::size_t last = at + n;
  for (std::size_t end = at; at < last; at = ++end) {
    while (end < last && !items[end].entry->closed) ++end;
    if (end > at) act(run_of(at, end - at));
  }
}

void Batch::run() {
  for (bool any = true; any;) {
    step_all();
    settle_landed();
    take_away();
    run_chain();
    give();
    tell();
    finish_round();
    any = false;
    for (const Item& item : items) any |= item.active;
  }
  if (!place().has_bytes && latch_run_ended(*items[0].entry)) node.pages->wake(*items[0].entry);
}

void Batch::step_all() {
  const proto::Place here = place();
  for (Item& item : items) {
    if (!item.active) continue;
    item.had = item.entry->page.access;
    note_wish(*item.entry, item.event.kind);
    note_borrows(item);
    item.actions = step(item.entry->page, here, item.event);
  }
}

// Of a page that may have been asked for already, before its home had it.
void Batch::note_wish(Entry& entry, proto::EventKind kind) {
  entry.doubted |= entry.page.ahead && kind == proto::EventKind::kFault;
  const bool wish = kind == proto::EventKind::kFault || kind == proto::EventKind::kAhead;
  if (!wish || !entry.ask_again) return;
  entry.ask_again = false;
  entry.page.look_asked = true;
}

// Of a page that is about to be given up: whether borrows go on in it.
void Batch::note_borrows(Item& item) {
  const proto::EventKind kind = item.event.kind;
  const bool gives_up =
      kind == proto::EventKind::kUsed || kind == proto::EventKind::kRelease || kind == proto::EventKind::kTransfer;
  const bool may_go_on = item.had == Access::kObject ? kind == proto::EventKind::kUsed : item.entry->page.keeps;
  item.event.keeps = gives_up && may_go_on && node.objects->go_on(item.page);
}

void Batch::take_away() {
  const bool bytes = place().has_bytes;
  for_runs([this](const Item& item) { return item.actions.lower && !rests(item); },
           [&](std::size_t at, std::size_t n) {
             if (bytes)
               for_open(at, n, [this](PageRange pages) { node.engine->lower(pages); });
             else
               latch_permission(*items[at].entry, Access::kRead);
             for (Item& item : items.subspan(at, n)) node.pages->note_given_up(*item.entry);
             count(node.stats->downgrade, n);
             if (node.recorder != nullptr) node.recorder->lowered(run_of(at, n));
           });
  for_runs([](const Item& item) { return item.actions.unmap && item.had == Access::kObject; },
           [&](std::size_t at, std::size_t n) {
             node.objects->left(run_of(at, n));
             for (Item& item : items.subspan(at, n)) node.pages->wake(*item.entry);  // who wants to borrow asks again
             count(node.stats->object_left, n);
           });
  for_runs([this](const Item& item) { return item.actions.unmap && item.had != Access::kObject && !rests(item); },
           [&](std::size_t at, std::size_t n) {
             if (bytes)
               for_open(at, n, [this](PageRange pages) { node.engine->unmap(pages); });
             else
               latch_permission(*items[at].entry, Access::kNone);
             for (Item& item : items.subspan(at, n)) node.pages->note_given_up(*item.entry);
             count(node.stats->invalidate, n);
             if (node.recorder != nullptr) node.recorder->invalidated(run_of(at, n));
             trace(TraceEvent::kUnmap, items[at].page, n);
           });
}

// Out of the program's reach although it has access: there is nothing to take away, and all to give.
bool Batch::rests(const Item& item) const {
  return node.local != nullptr && place().has_bytes && node.local->resting(item.page);
}

bool Batch::lands(const Item& item) const {
  return landing != nullptr && node.local != nullptr && node.local->covers(items[0].page) &&
         !node.local->here(item.page);
}

// Bytes that have landed are worthless if the claim before them failed; else the page is mapped with them now, or they
// go to their place, because it has to wait.
void Batch::settle_landed() {
  for (std::size_t i = 0; i < items.size(); ++i) {
    Item& item = items[i];
    if (!item.landed || item.actions.map == Access::kRead || item.actions.map == Access::kWrite) continue;
    item.landed = false;
    if (!item.entry->page.fetched) continue;
    std::memcpy(node.service_view + (item.page << kPageShift), landing + i * kPageBytes, kPageBytes);
    node.local->filled(item.page);
  }
}

// Where local memory is bounded: which pages have bytes here now.
void Batch::note_bytes() {
  if (node.local == nullptr || !node.local->covers(items[0].page)) return;
  for (Item& item : items) {
    if (!item.active) continue;
    if (item.actions.read_page && lands(item)) {
      item.landed = true;
    } else if (item.actions.read_page) {
      node.local->filled(item.page);
    } else if (item.actions.write_page && landing == nullptr && !node.local->here(item.page)) {
      node.local->cut({item.page, 1});  // it was never touched; reading its zeroes has made bytes of them
    }
  }
}

// Where the bytes of pages are that go home. What is about to be cut out is read out of the memory file: through the
// service view it would be mapped there first, and the cut would have to make every CPU forget that.
const std::byte* Batch::bytes_of(std::size_t at, std::size_t n) const {
  const std::uint64_t offset = items[at].page << kPageShift;
  if (landing == nullptr || node.local == nullptr || !node.local->covers(items[0].page))
    return node.service_view + offset;
  node.local->read_out(run_of(at, n), landing + at * kPageBytes);
  return landing + at * kPageBytes;
}

// The chain of all pages: write-backs first, then each page's atomics and latch reads, then the page reads.
void Batch::run_chain() {
  std::size_t used = 0;
  std::byte* const service = node.service_view;
  for_runs([](const Item& item) { return item.actions.write_page; },
           [&](std::size_t at, std::size_t n) {
             const auto bytes = static_cast<std::uint32_t>(n * kPageBytes);
             if (node.recorder != nullptr) node.recorder->written_back(run_of(at, n));
             ops[used++] = net::write_op(Region::kMemory, items[at].page << kPageShift, bytes_of(at, n), bytes);
           });
  const std::size_t words = used;
  for (Item& item : items) {
    if (!item.active) continue;
    const proto::Actions& todo = item.actions;
    const PageId page = item.page;
    const proto::Word zero = stored_zero(node.geometry, page);
    if (todo.waiters_add != 0) ops[used++] = net::fetch_add_op(Region::kMeta, latch_waiters(page), todo.waiters_add);
    if (todo.swap) {
      ops[used++] = net::cas_op(Region::kMeta, latch_word(page), todo.expected ^ zero, todo.desired ^ zero);
    }
    if (todo.read_latch) {
      ops[used++] = net::read_op(Region::kMeta, latch_word(page), &item.event.latch.word, sizeof(proto::Word));
      ops[used++] = net::read_op(Region::kMeta, latch_waiters(page), &item.event.latch.waiters, sizeof(NodeSet));
    }
  }
  const std::size_t reads = used;
  const auto read_into = [&](auto place_of) {
    return [&, place_of](std::size_t at, std::size_t n) {
      const auto bytes = static_cast<std::uint32_t>(n * kPageBytes);
      ops[used++] = net::read_op(Region::kMemory, items[at].page << kPageShift, place_of(at), bytes);
    };
  };
  for_runs([this](const Item& item) { return item.actions.read_page && !lands(item); },
           read_into([&](std::size_t at) { return service + (items[at].page << kPageShift); }));
  for_runs([this](const Item& item) { return item.actions.read_page && lands(item); },
           read_into([&](std::size_t at) { return landing + at * kPageBytes; }));
  if (used == 0) return;

  const NodeId home = place().home;
  execute_or_end(node, home, ops.first(used));
  note_bytes();
  std::size_t at = words;
  for (Item& item : items) {
    if (!item.active) continue;
    const proto::Word zero = stored_zero(node.geometry, item.page);
    if (item.actions.waiters_add != 0) ++at;
    if (item.actions.swap) item.event.old = ops[at++].old ^ zero;
    if (item.actions.read_latch) {
      item.event.latch.word ^= zero;
      at += 2;
    }
  }
  count_chain(ops.first(used), words, reads);
}

void Batch::count_chain(std::span<const net::Op> chain, std::size_t words, std::size_t reads) {
  NodeStats& stats = *node.stats;
  if (place().home == node.self) return;
  std::uint64_t atomics = 0, small = 0;
  for (const net::Op& op : chain.subspan(words, reads - words)) {
    (op.kind == net::OpKind::kRead ? small : atomics) += 1;
  }
  if (atomics != 0) count(stats.op_atomic, atomics);
  std::uint64_t read = small * sizeof(proto::Word), written = 0;
  for (const net::Op& op : chain.first(words)) written += op.bytes;
  for (const net::Op& op : chain.subspan(reads)) read += op.bytes;
  if (words != 0) {
    count(stats.op_write, words);
    count(stats.write_back, written >> kPageShift);
    count(stats.bytes_written, written);
  }
  if (read != 0) {
    count(stats.op_read, small + chain.size() - reads);
    count(stats.bytes_read, read);
  }
}

void Batch::give() {
  const bool bytes = place().has_bytes;
  for_runs([](const Item& item) { return item.actions.map != Access::kNone || item.actions.raise; },
           [&](std::size_t at, std::size_t n) { end_plain_waits(node, run_of(at, n)); });
  for (const Access access : {Access::kRead, Access::kWrite}) {
    for (const bool landed : {false, true}) {
      for_runs([=](const Item& item) { return item.actions.map == access && item.landed == landed; },
               [&](std::size_t at, std::size_t n) { map(at, n, access); });
    }
  }
  for_runs([](const Item& item) { return item.actions.map == Access::kObject; },
           [&](std::size_t, std::size_t n) { count(node.stats->object_entered, n); });
  for_runs([](const Item& item) { return item.actions.map == Access::kObject || item.actions.reopen; },
           [&](std::size_t at, std::size_t n) {
             node.objects->entered(run_of(at, n));
             for (Item& item : items.subspan(at, n)) node.pages->wake(*item.entry);
             // Threads that wait in the kernel for raw access have to ask again, too: the wish was of another kind.
             if (!node.engine->faults_inline()) {
               node.engine->release_waiters(node.geometry.address_of(items[at].page), n * kPageBytes);
             }
           });
  for_runs([this](const Item& item) { return item.actions.raise && !rests(item); },
           [&](std::size_t at, std::size_t n) {
             if (bytes)
               for_open(at, n, [this](PageRange pages) { node.engine->raise(pages); });
             else
               latch_permission(*items[at].entry, Access::kWrite);
             count(node.stats->upgrade, n);
           });
  if (!map_later) map_rested();
  for (Item& item : items) {
    if (item.active && (item.actions.map != Access::kNone || item.actions.raise)) note_grant(item);
  }
}

// A run of pages, all of which have landed or none.
void Batch::map(std::size_t at, std::size_t n, Access access) {
  if (map_later) return;
  const PageRange pages = run_of(at, n);
  if (!place().has_bytes) {
    latch_permission(*items[at].entry, access);
  } else if (items[at].landed) {
    node.engine->bring(pages, landing + at * kPageBytes, node.pages->mapped_as(access));
    for (Item& item : items.subspan(at, n)) {
      item.landed = false;
      node.local->filled(item.page);
    }
  } else if (n == 1 && items[at].entry->stays_closed) {
    items[at].entry->closed = true;
  } else {
    node.engine->map(pages, node.pages->mapped_as(access));
  }
  count(place().home == node.self ? node.stats->miss_local : node.stats->miss_remote, n);
  if (node.recorder != nullptr && place().home != node.self) node.recorder->fetched(pages);
  trace(TraceEvent::kMap, items[at].page, n, static_cast<std::uint64_t>(access));
}

// Pages that are raised while they rest: there is no mapping to raise.
void Batch::map_rested() {
  for (const Item& item : items) {
    if (item.active && item.actions.raise && rests(item)) node.engine->map({item.page, 1}, Access::kWrite);
  }
}

void Batch::note_mapping(const Item& item) {
  const PageId page = item.page;
  if (map_later) {
    if (item.actions.map != Access::kNone) node.local->unmapped(page);
  } else if (item.actions.raise && node.local->resting(page)) {
    node.local->came_back(page);
  } else {
    node.local->mapped(page);
  }
}

// When was it gained and who shall use it: Holds::used() decides by these when the page may go again.
void Batch::note_grant(Item& item) {
  Entry& entry = *item.entry;
  if (node.local != nullptr && place().has_bytes) note_mapping(item);
  entry.granted_us = clock_us();
  entry.came_ahead = entry.page.fresh || node.local != nullptr ? Access::kNone : entry.page.access;
  entry.no_such = entry.ask_again = entry.stored = false;
  if (node.recorder != nullptr) node.recorder->granted(item.page);
  if (entry.user_tid != 0 && !node.engine->faults_inline()) entry.user_cpu_ns = thread_cpu_ns(entry.user_tid);
}

void Batch::tell() {
  for (std::size_t i = 0; i < items.size();) {
    const proto::Actions& todo = items[i].actions;
    std::size_t end = i + 1;
    if (!items[i].active || todo.send_to == 0) {
      i = end;
      continue;
    }
    while (end < items.size() && items[end].active && items[end].page == items[i].page + (end - i) &&
           items[end].actions.send_to == todo.send_to && items[end].actions.send_kind == todo.send_kind &&
           items[end].actions.send_want == todo.send_want && items[end].actions.send_readers == todo.send_readers &&
           items[end].actions.send_borrowers == todo.send_borrowers) {
      ++end;
    }
    const proto::PageMessage message{
        todo.send_kind,    todo.send_want,     0, static_cast<std::uint32_t>(end - i), items[i].page,
        todo.send_readers, todo.send_borrowers};
    i = end;
    if (late != nullptr && message.kind == proto::MessageKind::kNudge) {
      *late = {todo.send_to, message};
    } else {
      send_pages(node, todo.send_to, message);
    }
  }
}

void Batch::finish_round() {
  for (Item& item : items) {
    if (!item.active) continue;
    if (item.actions.wake) node.pages->wake(*item.entry);
    if (item.actions.expects_done) {
      item.event.kind = proto::EventKind::kDone;
      continue;
    }
    item.active = false;
    if (item.actions.await_use) await_use(item);
  }
}

// Somebody waits for a page that is still owed its access.
void Batch::await_use(Item& item) {
  if (!place().has_bytes) {
    if (node.config.keep_us != 0 && node.holds->keeps_lock(item.page, *item.entry)) return;
    if (const auto event = latch_await_use(*item.entry)) {  // else the unlock that is due goes on
      item.event = *event;
      item.active = true;
    }
  } else if (node.holds->may_go(item.page, *item.entry)) {
    item.event = {.kind = proto::EventKind::kUsed};
    item.active = true;
  }
}

}  // namespace dsm::runtime
