// Runs the protocol on real memory: takes events for pages, executes the actions (proto/page.h), feeds the results
// back. Runs on whatever thread has the event: the faulting thread, the service thread, an API call. Safe in signal
// context.
//
// 1. An entry's lock is held throughout a run; the pages of a batch beyond the first are taken only if their locks are
// free.
// 2. A batch's pages share a home, so that their chains merge; those of consecutive pages' maps and messages do, too.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/types.h"
#include "mem/fault_engine.h"
#include "net/transport.h"
#include "proto/page.h"
#include "proto/stream.h"
#include "runtime/batch.h"
#include "runtime/entry.h"

namespace dsm::runtime {

struct Node;
struct ThreadPins;
class Room;  // local_memory.h

// An event that changes nothing: the protocol just considers again what it has put off.
inline constexpr proto::Event kReconsider{.kind = proto::EventKind::kPrefetch, .access = Access::kNone};

class Pages final : public mem::FaultSink {
 public:
  static Result<std::unique_ptr<Pages>> create(Node& node);
  ~Pages() override;

  // mem::FaultSink: the program touched what it may not.
  mem::FaultVerdict on_fault(const mem::Fault& fault) override;

  // While frozen no store to shared memory begins to succeed: write faults wait, but for those of the thread that froze
  // it. The pages that can be written already are lowered by lower_all(), which leaves the protocol's knowledge of them
  // as it is. snapshot.h says what for.
  void freeze(bool on);
  void lower_all(PageId first, std::uint64_t count);
  // What the engine may give of an access that the protocol has granted (a read may be granted the right to write).
  Access mapped_as(Access granted) const {
    return frozen_.load(std::memory_order_relaxed) != 0 ? Access::kRead : granted;
  }
  bool never_touched(PageId page);  // it is zero, without a look at it

  // A message about pages arrived (its range has been checked).
  void on_message(NodeId from, const proto::PageMessage& message);
  // The home of a page that we wait for says that it does not exist.
  void on_no_such_page(PageId page);

  // Runs the same event for every page of a range, in batches. Call with signals blocked.
  void hint(PageRange pages, proto::Event event);
  // One page. For latch-only pages this is the ground of locks.
  void event(PageId page, const proto::Event& event);
  Entry& entry(PageId page) { return table_[page]; }
  // How many pages of the range, from the first on, may be one batch.
  std::uint32_t clip(PageRange pages) const;
  // Takes the locks of the first pages of the range and calls act(Batch&) with them held; returns for how many. With
  // `insist` at least one, else only those whose locks are free at once. The batch's items have no event yet. Call with
  // signals blocked.
  template <typename Act>
  std::uint32_t with_locks(PageRange pages, bool insist, Act act);
  // The same with pages of one home, in order, wherever they are: calls act(Batch&) for as many at a time as there is
  // space for, and busy(page) for each whose lock is not free at once.
  template <typename Act, typename Busy>
  void with_free_locks(std::span<const PageId> pages, Act act, Busy busy);

  // From an API call, with signals blocked: asks for pages for object work and waits until they are open for it. They
  // may be closed again at once, in which case the caller asks again. False: there is no such memory.
  bool gain_for_objects(PageRange pages, bool nested);

  static constexpr std::int64_t kNoTimeout = -1;
  // How long at a stretch a thread waits with the program's signals blocked that has waited for so long already: the
  // longer it takes, the less does a signal matter against being woken for nothing.
  static constexpr std::int64_t stretch_ns(std::int64_t waited_ns) {
    return std::clamp<std::int64_t>(waited_ns, 50'000'000, 200'000'000);
  }
  // Sleeps until `word` is no longer `seen`, handling this node's messages meanwhile. May return early.
  void await_change(std::atomic<std::uint32_t>& word, std::uint32_t seen, std::int64_t timeout_ns = kNoTimeout);
  // Bumps a word that threads await, and wakes them.
  void notify_change(std::atomic<std::uint32_t>& word);

  // For Batch, under the entry's lock.
  void wake(Entry& entry) { notify_change(entry.changed); }
  // One run of the protocol for a page whose lock the caller holds.
  void run_locked(PageId page, Entry& entry, const proto::Event& event, LateNudge* late = nullptr);
  // The program has just lost access, or the right to write.
  void note_given_up(Entry& entry);
  // The page was gained for one store (one_store.cpp), and none came.
  static void note_no_store(Entry& entry);

 private:
  Pages(Node& node, PageTable table, Workspace* spaces, std::byte* landings);
  mem::FaultVerdict resolve(const mem::Fault& fault, std::int64_t begin);
  mem::FaultVerdict wait_thawed();
  bool untouched(PageId page) const;  // under its entry's lock
  bool private_fault_again(std::uintptr_t address) const;
  mem::FaultVerdict wait_for(const mem::Fault& fault, Access wanted, Entry& entry, bool first, LateNudge& late);
  void await_access(std::uintptr_t address, Entry& entry, Access wanted, LateNudge& late);
  bool touches_again(std::uintptr_t address, const Entry& entry, const ThreadPins& me);
  bool may_make(const mem::Fault& fault, const Entry& entry) const;
  bool stays_closed(const mem::Fault& fault, const Entry& entry) const;
  bool make_store(const mem::Fault& fault, Entry& entry, bool waited);
  bool make_access(const mem::Fault& fault, const Entry& entry) const;
  void let_run(const mem::Fault& fault, Entry& entry, bool waited);
  bool comes_back(Entry& entry) const;
  void await_unasked(Entry& entry, std::uint32_t seen, LateNudge& late);
  static void note_second_store(Entry& entry);
  void note_user(PageId page, Entry& entry, pid_t tid);
  static bool no_such_page(Entry& entry);
  Access foresee(PageId page, const Entry& entry, Access wanted);
  void lock_with_room(PageId page, Entry& entry, Room& room);
  bool is_over(Entry& entry, Access wanted) const;
  bool takes_room(PageId page) const;
  void map_again(PageId page, Entry& entry);
  bool await_open(PageId page, bool nested);
  void read_ahead(PageId missed, Access wanted, proto::EventKind how);
  std::uint32_t run_batch(PageRange pages, const proto::Event& event, bool insist);
  std::byte* take_landing();
  void give_landing(std::byte* landing);
  Workspace* borrow_space();
  void return_space(Workspace* space);
  std::uint32_t lock_pages(PageRange pages, bool insist, std::span<Item> items);
  template <typename Act>
  void run_held(Workspace* space, std::span<Item> items, Act act);

  static constexpr std::size_t kWorkspaces = 8;
  static constexpr std::size_t kLandings = 64;  // one bit each in landings_used_

  Node& node_;
  PageTable table_;
  Workspace* spaces_;
  std::array<FutexLock, kWorkspaces> space_locks_;
  std::atomic<std::uint32_t> frozen_{0};  // the tid of who froze it; a futex
  std::byte* landings_;                   // kLandings pages for batches of one page
  std::atomic<std::uint64_t> landings_used_{0};
  FutexLock stream_lock_;
  proto::Streams read_streams_, write_streams_;
  std::atomic<std::uint32_t> waiting_{0};          // threads in await_change
  std::atomic<bool> short_waits_{false};           // the last wait of a leader was worth a longer spin
  std::atomic<const void*> leader_word_{nullptr};  // what the thread waits for that handles this node's messages
};

template <typename Act>
std::uint32_t Pages::with_locks(PageRange pages, bool insist, Act act) {
  Workspace* const space = borrow_space();
  if (space == nullptr && !insist) return 0;
  Item item;  // without a workspace one page at a time
  const std::span<Item> items = space != nullptr ? std::span<Item>(space->items) : std::span(&item, 1);
  const std::uint32_t held = lock_pages(pages, insist, items);
  run_held(space, items.first(held), act);
  if (space != nullptr) return_space(space);
  return held;
}

template <typename Act, typename Busy>
void Pages::with_free_locks(std::span<const PageId> pages, Act act, Busy busy) {
  Workspace* const space = borrow_space();
  Item item;
  const std::span<Item> items = space != nullptr ? std::span<Item>(space->items) : std::span(&item, 1);
  while (!pages.empty()) {
    const auto part = pages.first(std::min(pages.size(), items.size()));
    std::uint32_t held = 0;
    for (const PageId page : part) {
      if (table_[page].lock.try_lock()) {
        items[held++] = Item{&table_[page], page, {}, {}, false};
      } else {
        busy(page);
      }
    }
    run_held(space, items.first(held), act);
    pages = pages.subspan(part.size());
  }
  if (space != nullptr) return_space(space);
}

// Over items whose locks are held, which it ends.
template <typename Act>
void Pages::run_held(Workspace* space, std::span<Item> items, Act act) {
  if (items.empty()) return;
  net::Op ops[kOpsPerPage];
  Batch batch{node_, items, space != nullptr ? std::span<net::Op>(space->ops) : ops,
              space != nullptr ? space->landing : nullptr};
  act(batch);
  for (const Item& done : items) done.entry->lock.unlock();
}

}  // namespace dsm::runtime
