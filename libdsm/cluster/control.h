// The messages between dsmrun, its nodes and dsmstat: SOCK_SEQPACKET, fixed sizes, checked before use.
//
// How a node joins: the launcher's child inherits one end of a socket pair (the rendezvous; DSM_CONTROL_FD names it).
// Whoever joins makes a socket pair of its own and sends one end along with its Hello; the answer and everything after
// it travels on that private pair. So several processes that inherited one rendezvous cannot read each other's mail,
// and the launcher can refuse all but the first.
//
//   node      -> launcher   Hello (+1 descriptor)   on the rendezvous
//   launcher  -> node       Welcome (+2L+1 descriptors: memory and meta of this host's L nodes, stats) or Refused
//   node      -> launcher   Contribution            launcher -> node   Exchanged (+1 descriptor) or Refused
//   node      -> launcher   Finish                  launcher -> node   AllFinished, PeerDown
//   dsmstat   -> launcher   StatsRequest            launcher -> dsmstat  StatsReply (+1 descriptor)
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/config.h"
#include "base/result.h"
#include "base/types.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

inline constexpr std::uint32_t kControlMagic = 0x314d5344;  // "DSM1"
inline constexpr std::uint16_t kControlVersion = 2;

enum class MessageKind : std::uint16_t {
  kHello = 1,
  kWelcome,
  kRefused,
  kFinish,
  kAllFinished,
  kPeerDown,
  kStatsRequest,
  kStatsReply,
  kContribution,
  kExchanged
};

struct MessageHead {
  std::uint32_t magic;
  std::uint16_t version;
  MessageKind kind;
  std::uint32_t bytes;  // of the whole message
  std::uint32_t zero;
};
static_assert(sizeof(MessageHead) == 16);

struct Hello {
  static constexpr MessageKind kKind = MessageKind::kHello;
  MessageHead head;
  char options[2032];  // the `same` options, "name=value" a line
};
static_assert(sizeof(Hello) == 2048);

struct Welcome {
  static constexpr MessageKind kKind = MessageKind::kWelcome;
  MessageHead head;
  std::uint32_t node;
  std::uint32_t nodes;
  std::uint64_t base;
  std::uint64_t slice_bytes;
  std::uint64_t interleaved_bytes;
  std::uint64_t meta_bytes;
  NodeSet local;  // the nodes of this host
  std::int32_t launcher_pid;
  std::uint32_t zero;
};
static_assert(sizeof(Welcome) == 72);

// Understood whatever the version: it is what nodes of another version get.
struct Refused {
  static constexpr MessageKind kKind = MessageKind::kRefused;
  MessageHead head;
  char reason[496];
};
static_assert(sizeof(Refused) == 512);

struct Finish {
  static constexpr MessageKind kKind = MessageKind::kFinish;
  MessageHead head;
};
static_assert(sizeof(Finish) == 16);

struct AllFinished {
  static constexpr MessageKind kKind = MessageKind::kAllFinished;
  MessageHead head;
};
static_assert(sizeof(AllFinished) == 16);

struct PeerDownNotice {
  static constexpr MessageKind kKind = MessageKind::kPeerDown;
  MessageHead head;
  std::uint32_t node;
  std::int32_t pid;
  char how[104];
};
static_assert(sizeof(PeerDownNotice) == 128);

// What a node gives to the exchange (exchange.h).
struct Contribution {
  static constexpr MessageKind kKind = MessageKind::kContribution;
  MessageHead head;
  std::uint32_t round;
  std::uint32_t bytes;  // of data
  std::byte data[kMaxExchangeBytes];
};
static_assert(sizeof(Contribution) == 24 + kMaxExchangeBytes);

struct Exchanged {
  static constexpr MessageKind kKind = MessageKind::kExchanged;
  MessageHead head;
  std::uint32_t round;
  std::uint32_t nodes;
};
static_assert(sizeof(Exchanged) == 24);

struct StatsRequest {
  static constexpr MessageKind kKind = MessageKind::kStatsRequest;
  MessageHead head;
};
static_assert(sizeof(StatsRequest) == 16);

struct StatsReply {
  static constexpr MessageKind kKind = MessageKind::kStatsReply;
  MessageHead head;
  std::uint32_t nodes;
  std::uint32_t stats_bytes;    // sizeof(NodeStats)
  std::uint32_t stats_version;  // kStatsVersion
  std::int32_t launcher_pid;
  std::int64_t started_ns;  // CLOCK_MONOTONIC
  char program[88];
};
static_assert(sizeof(StatsReply) == 128);

template <typename Message>
Message make_message() {
  Message message{};
  message.head = {kControlMagic, kControlVersion, Message::kKind, sizeof(Message), 0};
  return message;
}

// Copies as much of `text` as fits, NUL-terminated.
template <std::size_t kSize>
void put_text(char (&field)[kSize], std::string_view text) {
  const std::size_t length = text.size() < kSize - 1 ? text.size() : kSize - 1;
  std::memcpy(field, text.data(), length);
  std::memset(field + length, 0, kSize - length);
}
template <std::size_t kSize>
std::string get_text(const char (&field)[kSize]) {
  return {field, ::strnlen(field, kSize)};
}

// What receive() got. Descriptors belong to the packet until taken.
struct Packet {
  alignas(8) std::byte bytes[sizeof(Contribution) + 8];  // the largest message, and some to see that one is larger
  std::size_t size = 0;
  std::vector<UniqueFd> fds;
  pid_t sender = 0;  // if the socket has SO_PASSCRED

  // Nothing unless the bytes are one whole, well-formed message of that kind.
  template <typename Message>
  const Message* as() const {
    if (size != sizeof(Message)) return nullptr;
    const auto* message = reinterpret_cast<const Message*>(bytes);
    const MessageHead& head = message->head;
    const bool version_fits = head.version == kControlVersion || Message::kKind == MessageKind::kRefused;
    const bool good = head.magic == kControlMagic && version_fits && head.kind == Message::kKind &&
                      head.bytes == sizeof(Message) && head.zero == 0;
    return good ? message : nullptr;
  }
  bool is_other_version() const;
};

enum class Received { kPacket, kNothing, kClosed };

// One packet; kNothing if `flags` has MSG_DONTWAIT and none waits. A broken connection counts as closed; a packet that
// was too large or lost descriptors has size 0.
Received receive(int fd, Packet& packet, int flags);

Result<void> send_bytes(int fd, std::span<const std::byte> bytes, std::span<const int> fds, int flags);

template <typename Message>
Result<void> send_message(int fd, const Message& message, int flags = 0, std::span<const int> fds = {}) {
  return send_bytes(fd, std::as_bytes(std::span(&message, 1)), fds, flags);
}

// A connected pair of SOCK_SEQPACKET sockets, closed on exec.
struct SocketPair {
  UniqueFd near;
  UniqueFd far;
};
Result<SocketPair> make_socket_pair();

// The options that must be equal on all nodes, as Hello carries them.
std::string same_options(const Config& config);
// "" or, in words, the first option in which a node differs from the job.
std::string options_mismatch(const std::string& job, const std::string& node);

}  // namespace dsm::cluster
