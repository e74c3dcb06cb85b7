#include "heap/arena_births.h"

#include <pthread.h>

#include "base/check.h"
#include "base/futex.h"
#include "heap/jemalloc.h"

namespace dsm::heap {
namespace {

FutexLock births;
// This thread holds it for a fork. It may still make what the fork handlers of others allocate from.
__attribute__((tls_model("initial-exec"))) constinit thread_local bool forking = false;

}  // namespace

void stop_births() {
  births.lock();
  forking = true;
}

void allow_births() {
  forking = false;
  births.unlock();
}

void keep_births_from_forks() {
  static const int error = [] {
    DSM_CHECK(dsm_je_nallocx(1, 0) != 0);  // starts jemalloc, which registers its own
    return pthread_atfork(stop_births, allow_births, allow_births);
  }();
  DSM_CHECK(error == 0, "pthread_atfork: error {}", error);
}

ArenaBirth::ArenaBirth() : locked_(!forking) {
  if (locked_) births.lock();
}

ArenaBirth::~ArenaBirth() {
  if (locked_) births.unlock();
}

}  // namespace dsm::heap
