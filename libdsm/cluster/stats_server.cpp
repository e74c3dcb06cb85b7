#include "cluster/stats_server.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/clock.h"
#include "base/stats.h"
#include "cluster/say.h"
#include "cluster/stats_client.h"

namespace dsm::cluster {

namespace {

constexpr std::size_t kMaxClients = 16;

bool watch(int events, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return ::epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

Result<StatsServer> StatsServer::open(int stats_fd, unsigned nodes, const std::string& program) {
  StatsServer server;
  // Nodes have their descriptor already; nobody is to get a writable one by reopening ours.
  if (::fchmod(stats_fd, 0400) != 0) return fail(Errc::kSystem, "cannot protect the counters", errno);
  server.counters_.reset(::open(fmt::format("/proc/self/fd/{}", stats_fd).c_str(), O_RDONLY | O_CLOEXEC));
  if (!server.counters_) return fail(Errc::kSystem, "cannot open the counters read-only (is /proc there?)", errno);
  server.reply_ = make_message<StatsReply>();
  server.reply_.nodes = nodes;
  server.reply_.stats_bytes = sizeof(NodeStats);
  server.reply_.stats_version = kStatsVersion;
  server.reply_.launcher_pid = ::getpid();
  server.reply_.started_ns = now_ns();
  put_text(server.reply_.program, program);

  const JobAddress address = job_address(::geteuid(), ::getpid());
  server.listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!server.listener_ || ::bind(server.listener_.get(), address.get(), address.size()) != 0 ||
      ::listen(server.listener_.get(), 8) != 0) {
    return fail(Errc::kSystem, "cannot open the socket for dsmstat", errno);
  }
  server.events_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!server.events_ || !watch(server.events_.get(), server.listener_.get())) {
    return fail(Errc::kSystem, "cannot watch the socket for dsmstat", errno);
  }
  return server;
}

void StatsServer::refuse(int pid, int uid, const char* why) {
  if (lines_left_ == 0) return;
  --lines_left_;
  say("refused process {} of user {} at the socket for dsmstat: {}{}", pid, uid, why,
      lines_left_ == 0 ? " (further refusals will not be reported)" : "");
}

void StatsServer::accept_all() {
  for (;;) {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) continue;
    const int uid = static_cast<int>(who.uid);
    if (clients_.size() >= kMaxClients) drop_silent();
    if (who.uid != ::geteuid() && who.uid != 0) {
      refuse(who.pid, uid, "it is another user's");
    } else if (clients_.size() >= kMaxClients) {
      refuse(who.pid, uid, "too many are connected");
    } else if (watch(events_.get(), socket.get())) {
      const int fd = socket.get();
      clients_[fd] = Client{std::move(socket), who.pid, false};
    }
  }
}

// Makes room at the cost of somebody who has connected and not asked anything.
void StatsServer::drop_silent() {
  for (const auto& [socket, client] : clients_) {
    if (client.answered) continue;
    drop(socket);
    return;
  }
}

void StatsServer::serve_client(Client& client) {
  const int socket = client.socket.get();
  Packet packet;
  const Received received = receive(socket, packet, MSG_DONTWAIT);
  if (received == Received::kNothing) return;
  if (received == Received::kPacket) {
    const bool asks = packet.as<StatsRequest>() != nullptr && packet.fds.empty() && !client.answered;
    if (asks || packet.is_other_version()) {
      const int fds[] = {counters_.get()};
      client.answered = true;
      // To a dsmstat of another version the reply's head says as much.
      if (send_message(socket, reply_, MSG_DONTWAIT, fds)) return;
    } else {
      refuse(client.pid, static_cast<int>(::geteuid()), "what it sent is no request of dsmstat");
    }
  }
  drop(socket);
}

void StatsServer::serve() {
  epoll_event events[kMaxClients + 1];
  const int count = ::epoll_wait(events_.get(), events, kMaxClients + 1, 0);
  for (int i = 0; i < count; ++i) {
    const int fd = events[i].data.fd;
    if (fd == listener_.get()) {
      accept_all();
    } else if (const auto client = clients_.find(fd); client != clients_.end()) {
      serve_client(client->second);
    }
  }
}

}  // namespace dsm::cluster
