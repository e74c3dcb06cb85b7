// How a handler thread makes another thread pay for its access: the page loses all access (PROT_NONE), the thread is
// woken, tries again and gets a SIGSEGV from the kernel itself, or EFAULT in a system call. The SIGSEGV handler then
// takes the refusal back, for the page may become good memory later.
//
// Rejected: a signal sent to the thread (it may be blocked, and does not end a system call's access); UFFDIO_POISON
// (Linux 6.6, reports a hardware memory error in the kernel's log). Signals are blocked on every path that takes the
// lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/futex.h"
#include "mem/fault_engine.h"

namespace dsm::mem {

class RefusedPages {
 public:
  // `verdict`: kNotOurs or kLost. When too many are refused at once, the oldest refusal ends: its threads ask again.
  void refuse(std::uintptr_t page, FaultVerdict verdict);
  // Ends the refusal and tells what it was; nothing if the page is not refused (any more).
  std::optional<FaultVerdict> take_back_sig(std::uintptr_t page);

 private:
  static constexpr std::size_t kMost = 64;  // each splits a memory area of the kernel's in three

  struct Entry {
    std::uintptr_t page = 0;  // 0: free
    FaultVerdict verdict = FaultVerdict::kRetry;
  };
  FutexLock lock_;
  Entry entries_[kMost];
  std::size_t next_ = 0;  // the entry to fill: the oldest
};

}  // namespace dsm::mem
