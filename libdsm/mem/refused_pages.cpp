#include "mem/refused_pages.h"

#include <sys/mman.h>

#include <cerrno>
#include <mutex>

#include "base/types.h"
#include "mem/give_up.h"

namespace dsm::mem {
namespace {

void protect(std::uintptr_t page, int protection, const char* what) {
  if (mprotect(reinterpret_cast<void*>(page), kPageBytes, protection) != 0) give_up_sig(what, page, errno);
}

}  // namespace

void RefusedPages::refuse(std::uintptr_t page, FaultVerdict verdict) {
  const std::scoped_lock held(lock_);
  for (const Entry& entry : entries_) {
    if (entry.page == page) return;
  }
  Entry& entry = entries_[next_];
  next_ = (next_ + 1) % kMost;
  if (entry.page != 0) protect(entry.page, PROT_READ | PROT_WRITE, "open a page again");
  entry = {page, verdict};
  protect(page, PROT_NONE, "refuse a page");
}

std::optional<FaultVerdict> RefusedPages::take_back_sig(std::uintptr_t page) {
  const std::scoped_lock held(lock_);
  for (Entry& entry : entries_) {
    if (entry.page != page) continue;
    entry.page = 0;
    protect(page, PROT_READ | PROT_WRITE, "open a page again");
    return entry.verdict;
  }
  return std::nullopt;
}

}  // namespace dsm::mem
