// Hands what is typed at dsmrun's terminal to node 0. A node has a process group of its own, so the terminal would stop
// it if it read for itself; anything but a terminal is simply inherited and needs none of this.
// Used by the output thread; never blocks.
#pragma once

#include <poll.h>

#include <cstddef>

#include "cluster/unique_fd.h"

namespace dsm::cluster {

class TerminalInput {
 public:
  TerminalInput() = default;
  // `to`: the write end of node 0's standard input; made non-blocking here.
  TerminalInput(int terminal, UniqueFd to);

  bool open() const { return static_cast<bool>(to_); }
  // What to poll for now; fd -1 for nothing.
  pollfd wish() const;
  // After poll() reported something on wish().
  void serve(const pollfd& reported);

 private:
  bool may_read() const;

  int terminal_ = -1;
  UniqueFd to_;
  char held_[4096];
  std::size_t begin_ = 0;  // held_[begin_, end_) is still to be written
  std::size_t end_ = 0;
};

}  // namespace dsm::cluster
