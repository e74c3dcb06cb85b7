#include "heap/arena_births.h"

#include <pthread.h>

#include <atomic>

#include "base/check.h"
#include "base/clock.h"
#include "base/futex.h"
#include "heap/jemalloc.h"

namespace dsm::heap {
namespace {

FutexLock births;
std::atomic<pid_t> forking{0};  // the thread that holds it for a fork; what other handlers allocate it may still make

}  // namespace

void stop_births() {
  births.lock();
  forking.store(current_tid());
}

void allow_births() {
  forking.store(0);
  births.unlock();
}

void keep_births_from_forks() {
  static const int error = [] {
    DSM_CHECK(dsm_je_nallocx(1, 0) != 0);  // starts jemalloc, which registers its own
    return pthread_atfork(stop_births, allow_births, allow_births);
  }();
  DSM_CHECK(error == 0, "pthread_atfork: error {}", error);
}

ArenaBirth::ArenaBirth() : locked_(forking.load() != current_tid()) {
  if (locked_) births.lock();
}

ArenaBirth::~ArenaBirth() {
  if (locked_) births.unlock();
}

}  // namespace dsm::heap
