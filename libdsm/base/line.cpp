#include "base/line.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace dsm {
namespace {

std::atomic<int> line_node{-1};

}  // namespace

void set_line_node(int node) { line_node.store(node, std::memory_order_relaxed); }

Line::Line() {
  const int node = line_node.load(std::memory_order_relaxed);
  if (node < 0) {
    text("dsm ");
  } else {
    add("dsm[{}] ", node);
  }
}

Line& Line::text(std::string_view text) {
  std::memcpy(text_ + size_, text.data(), std::min(text.size(), kLineBytes - size_));
  advance(text.size());
  return *this;
}

void Line::advance(std::size_t wanted) {
  const std::size_t room = kLineBytes - size_;
  if (wanted > room) cut_ = true;
  size_ += std::min(wanted, room);
}

void Line::write_to(int fd) {
  const int saved_errno = errno;
  const std::string_view end = cut_ ? "...\n" : "\n";
  std::memcpy(text_ + size_, end.data(), end.size());
  const char* at = text_;
  std::size_t left = size_ + end.size();
  while (left > 0) {
    const ssize_t written = ::write(fd, at, left);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;  // nobody can be told that stderr is gone
    at += written;
    left -= static_cast<std::size_t>(written);
  }
  errno = saved_errno;
}

}  // namespace dsm
