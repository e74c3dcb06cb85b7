// A library that `processes` is linked with, so that its constructor runs before that of a preloaded library. It keeps
// a lock in allocated memory across a fork, as the rules for forking threads would have it.
#include <pthread.h>

#include <cerrno>

#include "check.h"

namespace {

pthread_mutex_t* lock = nullptr;

void on_prepare() {
  std::free(std::malloc(100));
  if (lock != nullptr) REQUIRE(pthread_mutex_lock(lock) == 0);
}

void on_either_side() {
  if (lock != nullptr) REQUIRE(pthread_mutex_trylock(lock) == EBUSY && pthread_mutex_unlock(lock) == 0);
  std::free(std::malloc(100));
}

[[gnu::constructor]] void register_handlers() {
  REQUIRE(pthread_atfork(on_prepare, on_either_side, on_either_side) == 0);
}

}  // namespace

extern "C" [[gnu::visibility("default")]] void early_use_lock() {
  lock = static_cast<pthread_mutex_t*>(std::malloc(sizeof *lock));
  REQUIRE(pthread_mutex_init(lock, nullptr) == 0);
}
