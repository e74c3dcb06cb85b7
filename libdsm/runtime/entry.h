// What this node keeps for each page of the global range beside the protocol's own Page: a lock, a word to sleep on,
// and what is needed to tell whether a page that was just gained has been used. The table is sparse and zero at first.
//
// 1. `page` and everything that is not atomic changes under `lock` only.
// 2. `lock` is held for one run of the protocol, never while waiting for another node.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "base/futex.h"
#include "base/geometry.h"
#include "base/result.h"
#include "proto/page.h"

namespace dsm::runtime {

// Entry::user_cpu_ns, when it is no CPU time:
inline constexpr std::int64_t kUserRuns = -1;   // the thread did not have to wait
inline constexpr std::int64_t kUserWaits = -2;  // it waits, or has been woken and has not come back yet

// As Entry::granted_us.
inline std::uint32_t clock_us() { return static_cast<std::uint32_t>(now_ns() / 1000); }

struct alignas(64) Entry {
  proto::Page page;
  FutexLock lock;
  std::atomic<std::uint32_t> changed;  // bumped at each grant; threads that wait for the page sleep on it
  std::atomic<std::uint32_t> hold;     // latch-only pages, as the next two: who holds the lock here (latch_lock.h)
  std::atomic<std::int32_t> owner;     // the thread that holds it exclusively
  std::uint16_t asking[2];             // threads that have asked for it shared, exclusively, and have not had it yet
  std::int32_t user_tid;               // the thread whose access the last grant was for
  std::int64_t user_cpu_ns;            // its CPU time when it was let go, or one of the above
  std::uint32_t granted_us;  // low bits of the monotonic clock at the last grant, or (stored) when it was given up,
                             // or (a lock that is kept) when it was looked at
  bool user_locks : 1;       // it held a dsm::mutex then, for which others may wait
  bool deferred : 1;         // on the list of pages whose use is awaited
  bool no_such : 1;          // its home says that there is no such page: for the waiting thread to find
  bool ask_again : 1;        // a thread has found that, or none waited for it: who wants the page next asks once more
  bool doubted : 1;          // asked for ahead at first: "no such page" may be from before the program touched it
  Access came_ahead : 2;     // the last grant, if it was for no access: a fault that is told of now may be over by that
  bool one_store : 1;        // closed to a second store since the first has run (one_store.cpp)
  bool stays_closed : 1;     // the access that it is being gained for will not need it in the view
  bool closed : 1;           // granted like that: not in the view, whatever `page` says. The next fault puts it there
  bool stored : 1;           // the one store that it was gained for has been made
  std::int8_t brief;       // how sure it is that the page is gained for one store each time (one_store.cpp); of a lock:
                           // below 0, times it is not to be kept
  std::uint8_t came_late;  // times in a row that such a page had to be asked for after all
};
static_assert(sizeof(Entry) == 64);

class PageTable {
 public:
  static Result<PageTable> create(const Geometry& geometry);
  Entry& operator[](PageId page) const { return entries_[page]; }

 private:
  explicit PageTable(Entry* entries) : entries_(entries) {}
  Entry* entries_;
};

}  // namespace dsm::runtime
