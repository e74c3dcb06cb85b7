// The fault path and everything else that has an event for a page. Read on_fault() first.
#include "runtime/pages.h"

#include <algorithm>
#include <new>
#include <optional>

#include "base/check.h"
#include "base/clock.h"
#include "base/latency.h"
#include "base/log.h"
#include "base/meta_layout.h"
#include "base/sparse.h"
#include "base/trace.h"
#include "runtime/batch.h"
#include "runtime/deadlock.h"
#include "runtime/holds.h"
#include "runtime/leases.h"
#include "runtime/local_memory.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/service.h"
#include "runtime/waits.h"

namespace dsm::runtime {
namespace {

// Nothing asked for leads to what is wanted. A wish of the other kind comes first: its grant wakes all who wait.
bool must_ask(const proto::Page& page, Access wanted) {
  return !allows(page.want, wanted) && !exclude(page.want, wanted);
}

}  // namespace

Result<PageTable> PageTable::create(const Geometry& geometry) {
  auto* const entries = map_sparse<Entry>(geometry.all_pages(), AtFork::kAbsent);
  if (entries == nullptr)
    return fail(Errc::kNoMemory, "no address space for the page table (a smaller DSM_SLICE helps)");
  return PageTable(entries);
}

Result<std::unique_ptr<Pages>> Pages::create(Node& node) {
  auto table = PageTable::create(node.geometry);
  if (!table) return tl::unexpected(table.error());
  auto* const spaces = map_sparse<Workspace>(kWorkspaces);
  auto* const landings = map_sparse<std::byte>(kLandings * kPageBytes);
  if (spaces == nullptr || landings == nullptr) return fail(Errc::kNoMemory, "no memory for the page batches");
  return std::unique_ptr<Pages>(new Pages(node, *table, spaces, landings));
}

Pages::Pages(Node& node, PageTable table, Workspace* spaces, std::byte* landings)
    : node_(node), table_(table), spaces_(spaces), landings_(landings) {}
Pages::~Pages() = default;

// --- faults ---------------------------------------------------------------------------------------------------------

mem::FaultVerdict Pages::on_fault(const mem::Fault& fault) {
  const std::int64_t begin = now_ns();
  node_.holds->fault_begins(begin);
  const mem::FaultVerdict verdict = resolve(fault, begin);
  node_.holds->fault_ends();
  if (node_.recorder == nullptr) [[likely]]
    return verdict;
  if (verdict != mem::FaultVerdict::kNotOurs && verdict != mem::FaultVerdict::kLost) {
    const auto [address, wanted, tid, context] = fault;
    const PageId page = node_.geometry.page_of(address);
    const bool in_thread = node_.engine->faults_inline();
    node_.recorder->fault({page, address, wanted == Access::kWrite, in_thread, tid, begin, now_ns() - begin});
  }
  return verdict;
}

mem::FaultVerdict Pages::resolve(const mem::Fault& fault, std::int64_t begin) {
  auto [address, wanted, tid, context] = fault;
  const PageId page = node_.geometry.page_of(address);
  if (!node_.engine->faults_inline()) end_plain_wait(tid);
  switch (node_.space->state(page)) {
    case mem::ChunkState::kUnused:
      return mem::FaultVerdict::kNotOurs;
    case mem::ChunkState::kPrivate:
      // It came just before the chunk was opened; or the program has closed the page itself, and faults again.
      return private_fault_again(address) ? mem::FaultVerdict::kNotOurs : mem::FaultVerdict::kRetry;
    case mem::ChunkState::kSharing:
      if (!node_.engine->faults_inline()) return mem::FaultVerdict::kPending;  // the end of the sharing lets it go on
      node_.space->wait_shared(page);
      return mem::FaultVerdict::kRetry;
    case mem::ChunkState::kShared:
      break;
  }
  if (node_.geometry.lent(page) && node_.leases->lessee(page) == kNoNode) return mem::FaultVerdict::kNotOurs;
  count(wanted == Access::kWrite ? node_.stats->fault_write : node_.stats->fault_read);
  trace(TraceEvent::kFault, page, static_cast<std::uint64_t>(wanted));

  Entry& entry = table_[page];
  Room room(node_.local.get());
  lock_with_room(page, entry, room);
  const std::uint32_t frozen_by = wanted == Access::kWrite ? frozen_.load(std::memory_order_relaxed) : 0;
  if (frozen_by != 0 && frozen_by != static_cast<std::uint32_t>(tid)) [[unlikely]] {
    entry.lock.unlock();
    return wait_thawed();
  }
  if (allows(entry.page.access, wanted)) {
    if (wanted == Access::kWrite) note_second_store(entry);
    map_again(page, entry);
    if (frozen_by != 0) node_.engine->map({page, 1}, Access::kWrite);
    entry.lock.unlock();
    room.drop();
    if (node_.local != nullptr) node_.local->rest_some();
    return mem::FaultVerdict::kRetry;
  }
  if (is_over(entry, wanted)) {
    entry.lock.unlock();
    return mem::FaultVerdict::kRetry;
  }
  if (entry.page.access == Access::kObject && node_.objects->raw_touch(page, address, tid)) wanted = Access::kWrite;
  const bool was_none = entry.page.access == Access::kNone;
  const bool first = entry.page.phase == proto::Phase::kIdle;  // nobody has asked for it, ahead or by another thread
  note_user(page, entry, tid);
  LateNudge late;
  const Access asked = foresee(page, entry, wanted);
  entry.stays_closed = stays_closed(fault, entry);
  run_locked(page, entry, {.kind = proto::EventKind::kFault, .access = asked}, comes_back(entry) ? &late : nullptr);
  room.drop();
  if (!allows(entry.page.access, wanted)) return wait_for(fault, wanted, entry, first, late);
  entry.stays_closed = false;
  let_run(fault, entry, false);
  entry.lock.unlock();
  node_.stats->fault_latency.add(now_ns() - begin);
  if (was_none) read_ahead(page, wanted, proto::EventKind::kPrefetch);
  if (node_.local != nullptr) node_.local->rest_some();
  return mem::FaultVerdict::kRetry;
}

// Whether a fault that the engine's thread hears of has perhaps ended already: the access had come ahead, which lets
// its waiter go, and is gone again. Asking for it once more would take the page from whoever has it now, and for
// nobody. Who waits for it still faults anew.
bool Pages::is_over(Entry& entry, Access wanted) const {
  const bool over = allows(entry.came_ahead, wanted) && !node_.engine->faults_inline();
  entry.came_ahead = Access::kNone;
  return over;
}

// Whether the page takes room in local memory that is bounded.
bool Pages::takes_room(PageId page) const { return node_.local != nullptr && node_.local->covers(page); }

// What to ask for when the program wants that. Where local memory is bounded, a page of which there are no other users
// may be worth more than it wants (proto/rewrites.h).
Access Pages::foresee(PageId page, const Entry& entry, Access wanted) {
  if (!takes_room(page) || node_.geometry.program_nodes() != 1) return wanted;
  if (wanted == Access::kWrite && entry.page.access == Access::kRead) node_.local->written(page);
  if (wanted != Access::kRead || entry.page.access != Access::kNone || !node_.local->foresees_write(page))
    return wanted;
  count(node_.stats->foreseen);
  return Access::kWrite;
}

// Takes the entry's lock; where local memory is bounded and the page's bytes are not here, there is room for them then.
void Pages::lock_with_room(PageId page, Entry& entry, Room& room) {
  const bool bounded = takes_room(page);
  if (bounded && !node_.local->here(page)) room.make();
  entry.lock.lock();
  while (bounded && !room.has() && !node_.local->here(page)) {
    entry.lock.unlock();
    room.make();
    entry.lock.lock();
  }
}

// The page may be touched already: somebody was faster, it was never touched yet, it rested, it was closed, or the
// kernel has taken the mapping away (reclaim).
void Pages::map_again(PageId page, Entry& entry) {
  node_.engine->map({page, 1}, entry.one_store ? Access::kRead : mapped_as(entry.page.access));
  const bool polls = entry.closed;  // it loads again
  entry.closed = false;
  if (polls) node_.holds->let_go(entry);
  if (!takes_room(page)) return;
  if (!node_.local->here(page)) {
    node_.local->filled(page);
    node_.local->mapped(page);
    count(node_.stats->fresh_page);
  } else if (node_.local->resting(page)) {
    node_.local->came_back(page);
    count(node_.stats->refault);
  }
}

// The thread that faults now is the one that a coming grant is for. What it was granted before it has used, and it may
// need the page still: what it reads it may be about to write. So has another thread if that shows, and then those who
// wait elsewhere come first.
void Pages::note_user(PageId page, Entry& entry, pid_t tid) {
  const bool asks = entry.page.access == Access::kObject;  // borrows say themselves when they are done
  if (entry.page.fresh && !asks && entry.user_tid != tid && node_.holds->used(page, entry))
    run_locked(page, entry, {.kind = proto::EventKind::kUsed});
  entry.user_tid = tid;
  entry.user_locks = node_.engine->faults_inline() && insight::held_locks.count != 0;
  entry.user_cpu_ns = kUserRuns;
}

// Whether the page's home has said that it does not exist. Asked by the thread that is about to tell the program.
bool Pages::no_such_page(Entry& entry) {
  if (!entry.no_such) return false;
  entry.no_such = false;
  entry.ask_again = true;
  return true;
}

// Another node has to give way. Enters with the entry's lock, leaves without.
mem::FaultVerdict Pages::wait_for(const mem::Fault& fault, Access wanted, Entry& entry, bool first, LateNudge& late) {
  const auto [address, unpromoted, tid, context] = fault;
  const PageId page = node_.geometry.page_of(address);
  const std::int64_t begin = now_ns();
  count(node_.stats->wait);
  trace(TraceEvent::kWait, page, entry.page.seen);
  // What was granted before has been used, by this thread or, as note_user() knows, by another.
  if (entry.page.fresh && entry.page.access != Access::kObject)
    run_locked(page, entry, {.kind = proto::EventKind::kUsed});
  entry.user_cpu_ns = kUserWaits;
  if (!node_.engine->faults_inline()) {
    if (node_.recorder != nullptr) node_.recorder->waits(page);
    const bool lost = no_such_page(entry);  // the engine's waiters were let go to find that out
    if (!lost) begin_plain_wait(tid, address);
    entry.lock.unlock();
    if (first) read_ahead(page, wanted, proto::EventKind::kAhead);
    return lost ? mem::FaultVerdict::kNotOurs : mem::FaultVerdict::kPending;
  }
  if (first) {  // while the answer is on its way
    entry.lock.unlock();
    read_ahead(page, wanted, proto::EventKind::kAhead);
    entry.lock.lock();
  }
  await_access(address, entry, wanted, late);
  const bool lost = no_such_page(entry);
  entry.user_tid = tid;
  entry.user_locks = node_.engine->faults_inline() && insight::held_locks.count != 0;
  entry.user_cpu_ns = thread_cpu_ns(tid);
  entry.stays_closed = false;
  if (!lost) let_run(fault, entry, true);
  node_.holds->let_go(entry);
  entry.lock.unlock();
  const std::int64_t waited = now_ns() - begin;
  node_.stats->wait_latency.add(waited);
  if (node_.recorder != nullptr) node_.recorder->waited(page, waited);
  return lost ? mem::FaultVerdict::kNotOurs : mem::FaultVerdict::kRetry;
}

// In the faulting thread. One that has borrowed something may hold up who holds up it: it notes its wait, and where in
// the program that is if it becomes long.
void Pages::await_access(std::uintptr_t address, Entry& entry, Access wanted, LateNudge& late) {
  ThreadPins* const me = borrower();
  std::optional<Waiting> waiting;
  if (me != nullptr) waiting.emplace(*me, WaitKind::kPlain, address, CallSite{});
  bool traced = me == nullptr;
  const std::int64_t trace_at = now_ns() + kSuspiciousNs / 2;
  while (!allows(entry.page.access, wanted) && !entry.no_such) {
    const bool touches = me != nullptr && touches_again(address, entry, *me);
    if (touches) wanted = Access::kWrite;
    if (touches || must_ask(entry.page, wanted)) {  // it was for another thread's wish, or has come and gone
      entry.user_cpu_ns = kUserWaits;
      run_locked(node_.geometry.page_of(address), entry, {.kind = proto::EventKind::kFault, .access = wanted});
      continue;
    }
    const std::uint32_t seen = entry.changed.load();
    entry.lock.unlock();
    if (late.to != 0) await_unasked(entry, seen, late);
    await_change(entry.changed, seen, traced ? kNoTimeout : std::max<std::int64_t>(trace_at - now_ns(), 0));
    if (!traced && now_ns() >= trace_at) {
      trace_interrupted(*me);
      traced = true;
    }
    entry.lock.lock();
  }
}

// The page is here for object work once more while this thread waits to touch it raw, inside a borrow of it.
bool Pages::touches_again(std::uintptr_t address, const Entry& entry, const ThreadPins& me) {
  const PageId page = node_.geometry.page_of(address);
  if (entry.page.access != Access::kObject || me.raw_page.load() == page + 1) return false;
  return node_.objects->raw_touch(page, address, current_tid());
}

// If the misses go on where others have left off. Pages that others have in use are asked for only while this thread
// waits for such a page anyway, and not where local memory is bounded: bytes that have come too early take room there,
// and stay until the page is granted.
void Pages::read_ahead(PageId missed, Access wanted, proto::EventKind how) {
  const auto readahead = static_cast<std::uint32_t>(node_.config.readahead);
  const bool bounded = takes_room(missed);
  const bool asks = how == proto::EventKind::kAhead;
  if (readahead == 0 || (bounded && asks) || !stream_lock_.try_lock()) return;
  auto& streams = wanted == Access::kWrite ? write_streams_ : read_streams_;
  const std::uint32_t most = clip({missed, readahead + 1}) - 1;  // so the next miss is where the next batch may begin
  std::uint32_t ahead = streams.advise(missed, most, asks);
  stream_lock_.unlock();
  if (ahead == 0) return;
  if (node_.recorder != nullptr) node_.recorder->streamed(missed);
  Room room(node_.local.get());
  if (bounded && (ahead = room.spare(ahead)) == 0) return;
  run_batch({missed + 1, ahead}, {.kind = how, .access = wanted}, false);
}

// --- messages -------------------------------------------------------------------------------------------------------

void Pages::on_message(NodeId from, const proto::PageMessage& message) {
  hint({message.first, message.count}, {.kind = proto::EventKind::kMessage, .node = from, .message = message});
}

// What was asked for ahead may be allocated, and touched, while the answer is on its way.
void Pages::on_no_such_page(PageId page) {
  Entry& entry = table_[page];
  entry.lock.lock();
  if (entry.page.phase == proto::Phase::kWaiting && entry.page.ahead) {
    entry.ask_again = true;
  } else if (entry.page.phase == proto::Phase::kWaiting && entry.doubted) {
    entry.doubted = false;
    run_locked(page, entry, {.kind = proto::EventKind::kMessage, .node = node_.self});
  } else if (entry.page.phase == proto::Phase::kWaiting) {
    entry.no_such = true;
    wake(entry);
    node_.engine->release_waiters(node_.geometry.address_of(page), kPageBytes);
  }
  entry.lock.unlock();
}

// --- object work ----------------------------------------------------------------------------------------------------

bool Pages::gain_for_objects(PageRange pages, bool nested) {
  hint(pages, {.kind = proto::EventKind::kFault, .access = Access::kObject, .nested = nested});
  for (std::uint32_t i = 0; i < pages.count; ++i) {
    if (!await_open(pages.first + i, nested)) return false;
  }
  return true;
}

// As wait_for(), for a thread that is not in a fault.
bool Pages::await_open(PageId page, bool nested) {
  Entry& entry = table_[page];
  entry.lock.lock();
  bool lost = false;
  while (!node_.objects->open(page)) {
    const bool ask = must_ask(entry.page, Access::kObject) || (nested && !entry.page.nested);
    if (entry.page.access != Access::kObject && ask) {
      // The access that this thread was granted before it has made; nobody needs to know who will borrow.
      if (entry.page.fresh && (entry.user_tid == current_tid() || node_.holds->used(page, entry))) {
        run_locked(page, entry, {.kind = proto::EventKind::kUsed});
      }
      run_locked(page, entry, {.kind = proto::EventKind::kFault, .access = Access::kObject, .nested = nested});
      continue;
    }
    lost = no_such_page(entry);  // the answer may be here already
    if (lost) break;
    const std::uint32_t seen = entry.changed.load();
    entry.lock.unlock();
    await_change(entry.changed, seen);
    entry.lock.lock();
  }
  entry.lock.unlock();
  return !lost;
}

// --- waiting --------------------------------------------------------------------------------------------------------

// A brief spin catches the quick answers. One of the threads that wait handles the answers that come for this node, so
// that they need not go through the service thread.
void Pages::await_change(std::atomic<std::uint32_t>& word, std::uint32_t seen, std::int64_t timeout_ns) {
  DSM_CHECK(timeout_ns >= kNoTimeout, "a wait of {} ns", timeout_ns);  // one that has run out is no wait for ever
  const auto done = [&] { return word.load() != seen; };
  prefer_latency();
  waiting_.fetch_add(1);
  if (node_.transport->claim_access()) {
    leader_word_.store(&word);
    const std::int64_t begin = now_ns();
    const std::int64_t spin_max_ns = node_.config.spin_max_us * 1000;
    const std::int64_t spin_ns = short_waits_.load() ? spin_max_ns : node_.config.spin_us * 1000;
    std::int64_t waited = 0;
    for (bool late = false; !done() && !late;) {
      if (node_.service->poll_for_access() != 0) continue;
      waited = now_ns() - begin;
      late = timeout_ns >= 0 && waited >= timeout_ns;
      if (waited < spin_ns) {
        cpu_relax();
      } else if (!late) {
        node_.transport->wait(net::Waiter::kAccess, timeout_ns < 0 ? -1 : timeout_ns - waited);
      }
    }
    short_waits_.store(waited < spin_max_ns);
    leader_word_.store(nullptr);
    node_.transport->release_access();
  } else if (!done()) {
    futex_wait(word, seen, FutexScope::kProcess, timeout_ns);
  }
  waiting_.fetch_sub(1);
}

void Pages::notify_change(std::atomic<std::uint32_t>& word) {
  word.fetch_add(1);
  if (waiting_.load() == 0) return;
  futex_wake(word, INT32_MAX, FutexScope::kProcess);
  if (leader_word_.load() == &word) node_.transport->wake(net::Waiter::kAccess);
}

}  // namespace dsm::runtime
