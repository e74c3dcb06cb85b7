// <dsm/hints_c.h>: as <dsm/hints.h>, but a borrow is named by the pointer that it gave.
#include <dsm/hints_c.h>

#include "hints/borrow.h"
#include "runtime/misuse.h"

using dsm::hints::CallSite;
using dsm::hints::Pin;

const void* dsm_borrow_shared_at(const void* object, size_t bytes, const char* file, unsigned line) {
  return dsm::hints::borrow_shared(object, bytes, {file, line}).data.load();
}

void* dsm_borrow_mut_at(void* object, size_t bytes, const char* file, unsigned line) {
  return dsm::hints::borrow_mut(object, bytes, {file, line}).data.load();
}

void dsm_release_at(const void* borrowed, int changed, const char* file, unsigned line) {
  const CallSite now{file, line};
  if (borrowed == nullptr) dsm::runtime::end_for_misuse("a release of a null pointer,", 0, now, "", {});
  Pin* const pin = dsm::hints::find_borrow(borrowed);
  if (pin != nullptr) return dsm::hints::end_hinted(*pin, changed != 0);
  const Pin* const last = dsm::hints::last_borrow(borrowed);
  dsm::runtime::end_for_misuse(
      last != nullptr ? "a second release of" : "a release of what this thread has not borrowed,",
      reinterpret_cast<std::uint64_t>(borrowed), now, last != nullptr ? "it was borrowed" : "",
      last != nullptr ? last->site : CallSite{});
}

void dsm_transfer_at(void* object, size_t bytes, unsigned node, const char* file, unsigned line) {
  dsm::hints::transfer(object, bytes, node, {file, line});
}
