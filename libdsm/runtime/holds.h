// How long a page that was just gained is kept although another node waits for it: until the access it was gained for
// has run. But for accesses that are made for the program (one_store.cpp) nothing tells when a load or store has run,
// so a thread of its own looks, when a timer says so, whether the CPU clock of the thread that faulted has gone on. It
// runs for microseconds and then sleeps: the thread that is to use the page may need this very CPU.
//
// With DSM_KEEP_US nodes that fight over pages take turns by the clock. In its turn a node keeps what it has gained and
// goes on writing, all such pages together; a node that would want a page back at once (false sharing, one lock after
// another) then makes many writes for each hand-over. Out of turn all is as without it. A page whose user runs and does
// not change it, since it waits for another node's store, is given away also in its turn. Locks are kept likewise while
// threads of the node go on taking them, and with a lock stays what it protects (lock cohorting: Dice, Marathe and
// Shavit, PPoPP 2012).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "base/futex.h"
#include "base/result.h"
#include "base/types.h"
#include "runtime/entry.h"

namespace dsm::runtime {

struct Node;

class Holds {
 public:
  static Result<std::unique_ptr<Holds>> create(Node& node);
  ~Holds();

  void start();
  void stop();

  // Whether the access the page was gained for has surely run. Under the entry's lock.
  bool used(PageId page, const Entry& entry) const;
  // Somebody waits for the page: whether it may be stepped with kUsed now. Else that comes by itself: once it has been
  // used, at the latest after DSM_HOLD_MAX_MS, or at the end of the borrow that holds it. Under the entry's lock.
  bool may_go(PageId page, Entry& entry);
  // Somebody waits for the lock that this latch-only page is: whether this node keeps it for now. If so, the protocol
  // asks again by itself. Under the entry's lock.
  bool keeps_lock(PageId page, Entry& entry);
  // The thread that the page was gained for is about to come back to the program. Under the entry's lock.
  void let_go(const Entry& entry);

  // How long a thread needs at the least from one fault to the next, which is to leave the one signal and to get the
  // other. In the faulting thread.
  void fault_begins(std::int64_t at_ns);
  void fault_ends();

 private:
  Holds(Node& node, int timer, PageId* pages, PageId* tended)
      : node_(node), timer_(timer), tended_(tended), pages_(pages) {}
  void loop();
  void defer(PageId page, Entry& entry, std::int64_t look_ns);
  void arm(std::int64_t delay_ns);
  std::int64_t turn_left_ns() const;
  bool worth_keeping(PageId page, const Entry& entry);
  std::uint64_t digest(PageId page) const;
  std::int64_t look_again_ns(const Entry& entry) const;
  static std::int64_t first_look_ns(const Entry& entry);
  void tend();

  // What a page that is kept on looked like; one slot for several pages, of which the last has it.
  struct Seen {
    PageId page;
    std::uint32_t granted_us;
    std::uint64_t digest;
    std::int64_t cpu_ns;    // of the thread that it was gained for, when the page was found changed
    std::uint32_t held_us;  // then
  };

  static constexpr std::int64_t kNever = INT64_MAX;
  static constexpr std::int64_t kFirstLookNs = 5'000;
  static constexpr std::int64_t kStoreComesNs = 400'000;

  Node& node_;
  const int timer_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};

  std::atomic<std::int64_t> return_ns_{0};  // the least seen between two faults of a thread; 0: none seen

  PageId* tended_;  // the thread's own, with room for every page, as pages_

  FutexLock lock_;  // the rest
  std::int64_t due_ns_ = kNever;
  PageId* pages_;  // each once: Entry::deferred
  std::size_t count_ = 0;
  std::array<Seen, 512> seen_{};
};

}  // namespace dsm::runtime
