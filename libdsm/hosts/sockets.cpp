#include "hosts/sockets.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace dsm::hosts {

tl::expected<Addresses, std::string> resolve(const std::string& rendezvous) {
  const std::size_t colon = rendezvous.rfind(':');
  std::string name = rendezvous.substr(0, colon == std::string::npos ? 0 : colon);
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  if (name.empty() || colon + 1 == rendezvous.size()) {
    return tl::unexpected(
        fmt::format("--rendezvous must be ADDRESS:PORT, such as 10.5.0.1:7070, not \"{}\"", rendezvous));
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(name.c_str(), rendezvous.c_str() + colon + 1, &hints, &list);
  if (error == 0) return Addresses(list);
  return tl::unexpected(
      fmt::format("--rendezvous {} names no address and port: {}", rendezvous, ::gai_strerror(error)));
}

tl::expected<cluster::UniqueFd, std::string> listen_at(const addrinfo& address, const std::string& text) {
  cluster::UniqueFd socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (socket) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (socket && ::bind(socket.get(), address.ai_addr, address.ai_addrlen) == 0 && ::listen(socket.get(), 64) == 0) {
    return socket;
  }
  switch (errno) {
    case EADDRINUSE:
      return tl::unexpected(
          fmt::format("{} is in use; choose another port on all hosts, or end the job that has it", text));
    case EADDRNOTAVAIL:
      return tl::unexpected(fmt::format("{} is no address of this host; host 0 is the one that has it", text));
    default:
      return tl::unexpected(fmt::format("cannot listen at {}: {}", text, ::strerror(errno)));
  }
}

int connect_to(const addrinfo& address, int wait_ms, cluster::UniqueFd& socket) {
  socket.reset(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno;
  if (::connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd polled{socket.get(), POLLOUT, 0};
  if (::poll(&polled, 1, wait_ms) <= 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

namespace {

template <typename Ask>
std::string name_of(int socket, Ask ask) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char name[NI_MAXHOST] = "?";
  if (ask(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    ::getnameinfo(reinterpret_cast<sockaddr*>(&address), size, name, sizeof name, nullptr, 0, NI_NUMERICHOST);
  }
  return name;
}

}  // namespace

std::string peer_of(int socket) { return name_of(socket, ::getpeername); }
std::string own_address_of(int socket) { return name_of(socket, ::getsockname); }

}  // namespace dsm::hosts
