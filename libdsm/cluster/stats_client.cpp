#include "cluster/stats_client.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/stats.h"
#include "base/types.h"
#include "cluster/control.h"

namespace dsm::cluster {

namespace {

constexpr int kAnswerMs = 2000;
constexpr std::uint32_t kListening = 0x10000;  // __SO_ACCEPTCON in /proc/net/unix

bool is_good(const StatsReply& reply, const Packet& packet) {
  if (reply.nodes < 1 || reply.nodes > kMaxNodes || packet.fds.size() != 1) return false;
  if (reply.stats_bytes != sizeof(NodeStats) || reply.stats_version != kStatsVersion) return false;
  struct stat status {};
  return ::fstat(packet.fds.front().get(), &status) == 0 && S_ISREG(status.st_mode) &&
         static_cast<std::uint64_t>(status.st_size) >= std::uint64_t{reply.nodes} * sizeof(NodeStats);
}

Result<UniqueFd> connect_to(const JobName& name) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return fail(Errc::kSystem, "cannot make a socket", errno);
  const JobAddress address = job_address(name.user, name.launcher);
  if (::connect(socket.get(), address.get(), address.size()) != 0) {
    return fail(errno == ECONNREFUSED ? Errc::kNotFound : Errc::kSystem, "cannot connect to the job", errno);
  }
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 || who.uid != name.user) {
    return fail(Errc::kProtocol, "the job's socket belongs to another user than it says");
  }
  return socket;
}

}  // namespace

JobAddress::JobAddress(const std::string& name) {
  address_.sun_family = AF_UNIX;
  const std::size_t length = std::min(name.size(), sizeof address_.sun_path - 1);
  std::memcpy(address_.sun_path + 1, name.data(), length);  // the leading NUL makes it abstract
  size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
}

JobAddress job_address(uid_t user, pid_t launcher) { return JobAddress(fmt::format("dsm-job-{}-{}", user, launcher)); }

Result<std::vector<JobName>> list_jobs() {
  std::ifstream table("/proc/net/unix");
  if (!table) return fail(Errc::kSystem, "cannot read /proc/net/unix", errno);
  std::vector<JobName> jobs;
  for (std::string line; std::getline(table, line);) {
    unsigned flags = 0;
    unsigned user = 0;
    int launcher = 0;
    int end = 0;
    // Num: RefCount Protocol Flags Type St Inode Path
    if (std::sscanf(line.c_str(), "%*[^:]: %*x %*x %x %*x %*x %*d @dsm-job-%u-%d%n", &flags, &user, &launcher, &end) ==
            3 &&
        static_cast<std::size_t>(end) == line.size() && (flags & kListening) != 0) {
      jobs.push_back({user, launcher});
    }
  }
  std::sort(jobs.begin(), jobs.end(), [](const JobName& a, const JobName& b) { return a.launcher < b.launcher; });
  return jobs;
}

Result<JobView> open_job(const JobName& name) {
  auto socket = connect_to(name);
  if (!socket) return tl::unexpected(socket.error());
  const auto sent = send_message(socket->get(), make_message<StatsRequest>());
  if (!sent) return fail(Errc::kNoSupport, "the job refuses to be looked at", sent.error().sys_errno);
  pollfd answer{socket->get(), POLLIN, 0};
  if (::poll(&answer, 1, kAnswerMs) <= 0) return fail(Errc::kTimeout, "the job does not answer");
  Packet packet;
  if (receive(socket->get(), packet, MSG_DONTWAIT) != Received::kPacket) {
    return fail(Errc::kNoSupport, "the job refuses to be looked at");
  }
  const StatsReply* reply = packet.as<StatsReply>();
  if (reply == nullptr || !is_good(*reply, packet)) {
    return fail(Errc::kProtocol, "the job runs under another version of dsmrun");
  }
  JobView view;
  view.connection = std::move(*socket);
  view.counters = std::move(packet.fds.front());
  view.nodes = reply->nodes;
  view.launcher = reply->launcher_pid;
  view.started_ns = reply->started_ns;
  view.program = get_text(reply->program);
  return view;
}

bool job_has_ended(const JobView& job) {
  pollfd polled{job.connection.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) > 0;  // after its one answer, dsmrun sends nothing but the end
}

}  // namespace dsm::cluster
