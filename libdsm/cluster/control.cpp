#include "cluster/control.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <cerrno>
#include <map>
#include <sstream>

namespace dsm::cluster {

namespace {

constexpr std::size_t kMaxFds = 2 * kMaxNodes + 1;
constexpr std::size_t kControlBytes = CMSG_SPACE(kMaxFds * sizeof(int)) + CMSG_SPACE(sizeof(ucred));

// Takes every descriptor the kernel has installed, so that none leaks whatever the packet turns out to be.
void take_ancillary(msghdr& header, Packet& packet) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET) continue;
    if (part->cmsg_type == SCM_RIGHTS) {
      const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
        packet.fds.emplace_back(fd);
      }
    } else if (part->cmsg_type == SCM_CREDENTIALS) {
      ucred who{};
      std::memcpy(&who, CMSG_DATA(part), sizeof who);
      packet.sender = who.pid;
    }
  }
}

std::map<std::string, std::string> parse_options(const std::string& text) {
  std::map<std::string, std::string> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find('=');
    if (equals != std::string::npos) values[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return values;
}

}  // namespace

bool Packet::is_other_version() const {
  if (size < sizeof(MessageHead)) return false;
  const auto* head = reinterpret_cast<const MessageHead*>(bytes);
  return head->magic == kControlMagic && head->version != kControlVersion;
}

Received receive(int fd, Packet& packet, int flags) {
  packet.size = 0;
  packet.fds.clear();
  packet.sender = 0;
  iovec part{packet.bytes, sizeof packet.bytes};
  alignas(cmsghdr) char ancillary[kControlBytes];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = ancillary;
  header.msg_controllen = sizeof ancillary;
  ssize_t got = 0;
  do {
    got = ::recvmsg(fd, &header, flags | MSG_CMSG_CLOEXEC);
    // ECONNRESET (the other side left mail unread) comes once, before what it had sent; that is still to be read.
  } while (got < 0 && (errno == EINTR || errno == ECONNRESET));
  if (got < 0) return errno == EAGAIN ? Received::kNothing : Received::kClosed;
  take_ancillary(header, packet);
  if (got == 0) return Received::kClosed;
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0) packet.size = static_cast<std::size_t>(got);
  return Received::kPacket;
}

Result<void> send_bytes(int fd, std::span<const std::byte> bytes, std::span<const int> fds, int flags) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char ancillary[kControlBytes] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    if (fds.size() > kMaxFds) return fail(Errc::kBadOption, "too many descriptors for one message");
    header.msg_control = ancillary;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(fd, &header, flags | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail(Errc::kSystem, "cannot send a control message", errno);
  return {};
}

Result<SocketPair> make_socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail(Errc::kSystem, "cannot make a control socket", errno);
  }
  return SocketPair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::string same_options(const Config& config) {
  const auto values = parse_options(dump(config));
  std::string text;
  for (const OptionInfo& option : option_table()) {
    const auto value = values.find(option.name);
    if (option.same && value != values.end()) text += fmt::format("{}={}\n", option.name, value->second);
  }
  return text;
}

std::string options_mismatch(const std::string& job, const std::string& node) {
  const auto wanted = parse_options(job);
  const auto given = parse_options(node);
  for (const auto& [name, value] : wanted) {
    const auto found = given.find(name);
    if (found == given.end()) return fmt::format("the node does not say what its option '{}' is", name);
    if (found->second != value) {
      return fmt::format("option '{}' is '{}' on this node and '{}' in the job; it must be the same on all nodes", name,
                         found->second, value);
    }
  }
  return "";
}

}  // namespace dsm::cluster
