#include "base/signals.h"

#include "base/check.h"

namespace dsm {

SignalsBlocked::SignalsBlocked() {
  sigset_t all;
  sigfillset(&all);
  const int failed = pthread_sigmask(SIG_SETMASK, &all, &previous_);
  DSM_CHECK(failed == 0, "pthread_sigmask: error {}", failed);
}

SignalsBlocked::~SignalsBlocked() {
  const int failed = pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
  DSM_CHECK(failed == 0, "pthread_sigmask: error {}", failed);
}

}  // namespace dsm
