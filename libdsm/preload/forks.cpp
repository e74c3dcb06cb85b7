// The library's fork handlers. Their place among the others is what counts (runtime/forks.h): a constructor of this
// priority runs before jemalloc's registers its own.
#include "runtime/forks.h"

#include <pthread.h>

#include "base/check.h"
#include "preload/front.h"
#include "preload/mappings.h"

namespace dsm::preload {
namespace {

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

[[gnu::constructor(101)]] void register_handlers() {
  const int error = pthread_atfork(on_prepare, on_parent, on_child);
  DSM_CHECK(error == 0, "pthread_atfork: error {}", error);
}

}  // namespace
}  // namespace dsm::preload
