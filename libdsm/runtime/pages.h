// Runs the protocol on real memory: takes events for pages, executes the actions (proto/page.h), feeds the results
// back. Runs on whatever thread has the event: the faulting thread, the service thread, an API call. Safe in signal
// context.
//
// 1. An entry's lock is held throughout a run; the pages of a batch beyond the first are taken only if their locks are
// free.
// 2. A batch's pages are consecutive and share a home, so that their chains, maps and messages merge.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "base/types.h"
#include "mem/fault_engine.h"
#include "net/transport.h"
#include "proto/page.h"
#include "proto/stream.h"
#include "runtime/entry.h"

namespace dsm::runtime {

struct Node;
struct Workspace;  // batch.h

class Pages final : public mem::FaultSink {
 public:
  static Result<std::unique_ptr<Pages>> create(Node& node);
  ~Pages() override;

  // mem::FaultSink: the program touched what it may not.
  mem::FaultVerdict on_fault(std::uintptr_t address, Access wanted, pid_t tid) override;

  // A message about pages arrived (its range has been checked).
  void on_message(NodeId from, const proto::PageMessage& message);
  // The home of a page that we wait for says that it does not exist.
  void on_no_such_page(PageId page);

  // Runs the same event for every page of a range, in batches. Call with signals blocked.
  void hint(PageRange pages, const proto::Event& event);
  // One page. For latch-only pages this is the ground of locks.
  void event(PageId page, const proto::Event& event);
  Entry& entry(PageId page) { return table_[page]; }

  // Sleeps until `word` is no longer `seen`, handling this node's messages meanwhile. May return early.
  void await_change(std::atomic<std::uint32_t>& word, std::uint32_t seen, std::int64_t timeout_ns = -1);
  // Bumps a word that threads await, and wakes them.
  void notify_change(std::atomic<std::uint32_t>& word);

  // Service loop: looks after the pages whose use is awaited. What is left to do: nothing; look again when the thread
  // that is to use a page has come back (it says so) or the hold ends; look again soon.
  enum class Deferred : std::uint8_t { kNone, kLater, kSoon };
  Deferred tend_deferred();

  // For Batch, under the entry's lock.
  void wake(Entry& entry) { notify_change(entry.changed); }
  bool used(const Entry& entry) const;
  void defer(PageId page, Entry& entry);

 private:
  Pages(Node& node, PageTable table, Workspace* spaces);
  bool private_fault_again(std::uintptr_t address) const;
  mem::FaultVerdict wait_for(PageId page, Entry& entry, Access wanted, pid_t tid);
  void note_user(PageId page, Entry& entry, pid_t tid);
  static bool no_such_page(Entry& entry);
  void read_ahead(PageId missed, Access wanted);
  void run_locked(PageId page, Entry& entry, const proto::Event& event);
  std::uint32_t run_batch(PageRange pages, const proto::Event& event, bool insist);
  std::uint32_t clip(PageRange pages) const;

  static constexpr std::size_t kWorkspaces = 8;
  static constexpr std::size_t kMaxDeferred = 4096;

  Node& node_;
  PageTable table_;
  Workspace* spaces_;
  std::array<FutexLock, kWorkspaces> space_locks_;
  FutexLock stream_lock_;
  proto::Streams read_streams_, write_streams_;
  std::atomic<std::uint32_t> waiting_{0};          // threads in await_change
  std::atomic<const void*> leader_word_{nullptr};  // what the thread waits for that handles this node's messages

  FutexLock deferred_lock_;
  std::array<PageId, kMaxDeferred> deferred_{};
  std::size_t deferred_count_ = 0;
};

}  // namespace dsm::runtime
