// The library's fork handlers. Their place among the others is what counts: the kernel copies the process right behind
// them, and what others do before a fork they do while the heap and jemalloc still work. So they are the first of all
// to be registered, and jemalloc's the next, whichever library's constructor is the first to register any.
#include "runtime/forks.h"

#include <pthread.h>

#include "base/check.h"
#include "heap/arena_births.h"
#include "preload/front.h"
#include "preload/mappings.h"
#include "preload/next.h"

// What pthread_atfork calls, with the library that it is called in.
extern "C" int __register_atfork(void (*prepare)(), void (*parent)(), void (*child)(), void* library) noexcept;
extern "C" [[gnu::visibility("hidden")]] void* __dso_handle;

namespace dsm::preload {
namespace {

using Register = int(void (*)(), void (*)(), void (*)(), void*);

// The program's signals are blocked in between, so no handler meets the locks.
void on_prepare() {
  if (runtime::Node* const node = front_node(); node != nullptr) runtime::prepare_fork(*node);
  lock_mappings();
}

void on_parent() {
  unlock_mappings();
  if (runtime::Node* const node = front_node(); node != nullptr) runtime::fork_done_in_parent(*node);
}

void on_child() {
  unlock_mappings();
  runtime::Node* const node = front_node();
  if (node == nullptr) return;
  runtime::fork_done_in_child(*node);
  if (!runtime::heap_inherited()) {
    close_front();
  } else {
    forget_sites();
  }
}

// Programs register one after the other: constructors do.
[[gnu::constructor(101)]] void register_handlers() {
  static constinit bool registered = false;
  if (registered) return;
  registered = true;
  const int error = next<"__register_atfork", Register>()(on_prepare, on_parent, on_child, &__dso_handle);
  DSM_CHECK(error == 0, "__register_atfork: error {}", error);
  heap::keep_births_from_forks();  // starts jemalloc
}

}  // namespace

DSM_INTERPOSED int __register_atfork(void (*prepare)(), void (*parent)(), void (*child)(), void* library) noexcept {
  register_handlers();
  return next<"__register_atfork", Register>()(prepare, parent, child, library);
}

}  // namespace dsm::preload
