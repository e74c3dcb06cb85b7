#include "cluster/input.h"

#include <fcntl.h>

#include <cerrno>

namespace dsm::cluster {

TerminalInput::TerminalInput(int terminal, UniqueFd to) : terminal_(terminal), to_(std::move(to)) {
  ::fcntl(to_.get(), F_SETFL, O_NONBLOCK);
}

// A terminal is read by its foreground process group only.
bool TerminalInput::may_read() const { return ::tcgetpgrp(terminal_) == ::getpgrp(); }

pollfd TerminalInput::wish() const {
  if (!to_) return {-1, 0, 0};
  if (begin_ < end_) return {to_.get(), POLLOUT, 0};
  return {may_read() ? terminal_ : -1, POLLIN, 0};
}

void TerminalInput::serve(const pollfd& reported) {
  if (reported.fd < 0 || reported.revents == 0) return;
  if (begin_ == end_) {
    const ssize_t got = ::read(terminal_, held_, sizeof held_);
    if (got < 0 && (errno == EINTR || errno == EAGAIN || (errno == EIO && !may_read()))) return;
    if (got <= 0) {
      to_.reset();  // end of file: the node gets it too
      return;
    }
    begin_ = 0;
    end_ = static_cast<std::size_t>(got);
  }
  const ssize_t put = ::write(to_.get(), held_ + begin_, end_ - begin_);
  if (put > 0) begin_ += static_cast<std::size_t>(put);
  if (put < 0 && errno != EAGAIN && errno != EINTR) to_.reset();  // the node reads no more
}

}  // namespace dsm::cluster
