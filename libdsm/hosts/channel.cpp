#include "hosts/channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace dsm::hosts {

namespace {

template <typename Value>
std::span<const std::byte> bytes_of(const Value& value) {
  return std::as_bytes(std::span(&value, 1));
}

// The kernel asks a silent peer once a second, and gives a silent or stuck connection up after kSilenceMs. It answers
// for a process that is stopped, so ^Z on one host is no death.
void watch_connection(int socket) {
  const auto set = [socket](int level, int name, int value) {
    ::setsockopt(socket, level, name, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 1);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set(IPPROTO_TCP, TCP_KEEPCNT, kSilenceMs / 1000 - 1);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, kSilenceMs);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
}

}  // namespace

Channel::Channel(cluster::UniqueFd socket, const JobKey& key, Side side, std::string address)
    : socket_(std::move(socket)), key_(&key), side_(side), address_(std::move(address)) {
  watch_connection(socket_.get());
}

void Channel::begin_session(const Nonce& leaders, const Nonce& followers) {
  nonces_[0] = leaders;
  nonces_[1] = followers;
  in_session_ = true;
}

void Channel::challenge() {
  nonces_[0] = make_nonce();
  send(FrameKind::kChallenge, Challenge{nonces_[0]});
}

Tag Channel::tag(Side from, std::uint64_t number, std::span<const std::byte> bytes) const {
  return key_->tag({bytes_of(nonces_), bytes_of(from), bytes_of(number), bytes});
}

void Channel::send(FrameKind kind, std::span<const std::byte> payload) {
  const FrameHead head{kFrameMagic, kFrameVersion, kind, static_cast<std::uint32_t>(payload.size()), 0};
  const std::size_t begin = out_.size();
  const auto put = [this](std::span<const std::byte> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); };
  put(bytes_of(head));
  put(payload);
  const Tag made = in_session_ ? tag(side_, sent_++, std::span(out_).subspan(begin)) : Tag{};
  put(made);
  flush();
}

bool Channel::flush() {
  while (!out_.empty() && !closed_) {
    const ssize_t sent = ::send(socket_.get(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      out_.erase(out_.begin(), out_.begin() + sent);
    } else if (sent < 0 && errno == EAGAIN) {
      return false;
    } else if (sent < 0 && errno != EINTR) {
      out_.clear();  // receive() will tell, after what the other side had sent before
    }
  }
  return true;
}

Channel::Got Channel::receive(Frame& frame) {
  for (;;) {
    if (const Got got = parse(frame); got != Got::kNothing) return got;
    if (closed_) return Got::kClosed;
    std::byte bytes[16384];
    const ssize_t read = ::recv(socket_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (read > 0) {
      in_.insert(in_.end(), bytes, bytes + read);
    } else if (read < 0 && errno == EAGAIN) {
      return Got::kNothing;
    } else if (read == 0 || errno != EINTR) {
      closed_ = true;
      timed_out_ = read < 0 && errno != ECONNRESET && errno != EPIPE;
    }
  }
}

// Takes the first frame of what has come, if it is there as a whole.
Channel::Got Channel::parse(Frame& frame) {
  FrameHead head;
  if (in_.size() < sizeof head) return Got::kNothing;
  std::memcpy(&head, in_.data(), sizeof head);
  if (head.magic != kFrameMagic || head.zero != 0) return Got::kNonsense;
  if (head.version != kFrameVersion) return Got::kOtherVersion;
  if (head.bytes > payload_max_) return Got::kNonsense;
  const std::size_t tagged = sizeof head + head.bytes;
  if (in_.size() < tagged + sizeof(Tag)) return Got::kNothing;
  Tag given;
  std::memcpy(given.data(), in_.data() + tagged, sizeof given);
  frame.kind = head.kind;
  frame.payload.assign(in_.begin() + sizeof head, in_.begin() + static_cast<std::ptrdiff_t>(tagged));
  const Side other = side_ == Side::kLeader ? Side::kFollower : Side::kLeader;
  if (side_ == Side::kLeader && !in_session_) {
    // Only a Hello comes now, and its tag is over the nonce that it brings.
    const auto* hello = frame.as<Hello>();
    if (head.kind != FrameKind::kHello || hello == nullptr) return Got::kNonsense;
    begin_session(nonces_[0], hello->nonce);
  }
  frame.tagged = in_session_ && same(given, tag(other, received_, std::span(in_).first(tagged)));
  // A refusal comes untagged if this side's own key is the wrong one; a challenge before there is a session.
  const bool may_be_untagged = head.kind == FrameKind::kRefused || (!in_session_ && head.kind == FrameKind::kChallenge);
  if (!frame.tagged && !may_be_untagged) return Got::kOtherKey;
  if (in_session_) ++received_;
  in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(tagged + sizeof(Tag)));
  return Got::kFrame;
}

}  // namespace dsm::hosts
