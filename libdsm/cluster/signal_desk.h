// dsmrun's signals: all that matter arrive at one descriptor, in the supervising thread, and children get back what
// dsmrun itself was started with.
#pragma once

#include <csignal>
#include <optional>

#include "base/result.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

class SignalDesk {
 public:
  // Blocks the signals and opens the descriptor. Once, before any thread is made.
  static Result<SignalDesk> open();

  int fd() const { return fd_.get(); }
  // The next signal that waits: SIGCHLD, or one to forward.
  std::optional<int> next() const;
  // Gives mask and dispositions back as they were: in a forked child (async-signal-safe), or when the job is over.
  void restore() const;

 private:
  SignalDesk() = default;

  UniqueFd fd_;
  sigset_t mask_{};
  struct sigaction pipe_ {};
  struct sigaction tty_in_ {};
};

}  // namespace dsm::cluster
