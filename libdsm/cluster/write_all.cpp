#include "cluster/write_all.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace dsm::cluster {

bool write_all(int fd, const void* bytes, std::size_t count) {
  const auto* at = static_cast<const std::byte*>(bytes);
  while (count > 0) {
    const ssize_t put = ::write(fd, at, count);
    if (put >= 0) {
      at += put;
      count -= static_cast<std::size_t>(put);
    } else if (errno == EAGAIN) {  // somebody made the descriptor that we share non-blocking
      pollfd room{fd, POLLOUT, 0};
      ::poll(&room, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace dsm::cluster
