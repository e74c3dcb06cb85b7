// Pages that are not given although the protocol would: frozen for a fork, or closed by the program itself.
#include "base/clock.h"
#include "base/futex.h"
#include "runtime/local_memory.h"
#include "runtime/node.h"
#include "runtime/pages.h"

namespace dsm::runtime {

// Whether this thread's last fault on private memory was at the same place. (A handler thread serves all threads; what
// it hears of private memory is over by then.)
bool Pages::private_fault_again(std::uintptr_t address) const {
  __attribute__((tls_model("initial-exec"))) constinit static thread_local std::uintptr_t last = 0;
  if (!node_.engine->faults_inline()) return false;
  const bool again = last == address;
  last = again ? 0 : address;
  return again;
}

void Pages::freeze(bool on) {
  frozen_.store(on ? static_cast<std::uint32_t>(current_tid()) : 0);
  if (!on) futex_wake(frozen_, INT32_MAX, FutexScope::kProcess);
}

// A handler thread goes on: the end of the frost lets those who wait fault again.
mem::FaultVerdict Pages::wait_thawed() {
  if (!node_.engine->faults_inline()) return mem::FaultVerdict::kPending;
  for (std::uint32_t who = frozen_.load(); who != 0; who = frozen_.load()) {
    futex_wait(frozen_, who, FutexScope::kProcess);
  }
  return mem::FaultVerdict::kRetry;
}

void Pages::lower_all(PageId first, std::uint64_t count) {
  for (PageId page = first; page < first + count; ++page) table_[page].lock.lock();
  // A page that rests or is closed is out of reach already, and has to stay so.
  const auto writable = [this](PageId page) {
    const bool rests = table_[page].closed || (node_.local != nullptr && node_.local->resting(page));
    return table_[page].page.access == Access::kWrite && !untouched(page) && !rests;
  };
  for (PageId page = first; page < first + count;) {
    const PageId begin = page;
    while (page < first + count && writable(page)) ++page;
    if (page != begin) node_.engine->lower({begin, static_cast<std::uint32_t>(page - begin)});
    while (page < first + count && !writable(page)) ++page;
  }
  for (PageId page = first; page < first + count; ++page) table_[page].lock.unlock();
}

// What was leased is owned at once, and has bytes once it is touched.
bool Pages::never_touched(PageId page) {
  Entry& entry = table_[page];
  entry.lock.lock();  // it may be on its way out just now
  const bool untouched_now = untouched(page);
  entry.lock.unlock();
  return untouched_now;
}

bool Pages::untouched(PageId page) const {
  return node_.local != nullptr && table_[page].page.access == Access::kWrite && !node_.local->here(page);
}

}  // namespace dsm::runtime
