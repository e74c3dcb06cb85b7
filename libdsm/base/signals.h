// Blocks every signal of this thread for a scope, so that no application handler runs while a runtime lock is held.
#pragma once

#include <csignal>

namespace dsm {

class SignalsBlocked {
 public:
  SignalsBlocked();
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t previous_;
};

}  // namespace dsm
