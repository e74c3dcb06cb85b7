// What travels between nodes as a message: a header of 4 bytes and one fixed-size payload. Checked on arrival; what
// cannot be right is dropped with a log line, never trusted.
//
//   0         1       2        4                       240
//   | version | type  | bytes  | payload ...            |      bytes = size of the payload
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "net/transport.h"
#include "proto/page.h"
#include "runtime/calls.h"
#include "runtime/objects.h"

namespace dsm::runtime {

inline constexpr std::uint8_t kWireVersion = 1;

enum class MessageType : std::uint8_t {
  kPages = 1,   // proto::PageMessage
  kNoSuchPage,  // NoSuchPages: there is no memory at pages you asked for
  kRequest,     // Request
  kReply,       // ReplyMessage
  kFrees,       // FreesMessage
  kObject,      // ObjectMessage
  kRing,        // RingMessage: somebody has rung this node's doorbell
};

struct WireHeader {
  std::uint8_t version;
  MessageType type;
  std::uint16_t bytes;
};
static_assert(sizeof(WireHeader) == 4);

struct NoSuchPages {
  PageId first;
  std::uint64_t count;
};
static_assert(sizeof(NoSuchPages) == 16);

struct ReplyMessage {
  std::uint32_t call;
  std::uint32_t last;  // 0: an acknowledgement, the reply proper follows
  std::uint64_t value;
};
static_assert(sizeof(ReplyMessage) == 16);

struct FreesMessage {
  static constexpr std::size_t kMost = 24;
  std::uint64_t count;
  std::uint64_t blocks[kMost];
};
static_assert(sizeof(FreesMessage) == 200);

struct RingMessage {
  std::uint64_t unused;
};
static_assert(sizeof(ObjectMessage) == 16);
static_assert(sizeof(Request) + sizeof(WireHeader) <= net::kMaxMessageBytes);

// A message ready to be sent.
template <typename Payload>
struct Packed {
  WireHeader header;
  std::array<std::byte, sizeof(Payload)> payload;
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(this, 1)); }
};

template <typename Payload>
Packed<Payload> pack(MessageType type, const Payload& payload) {
  static_assert(sizeof(Packed<Payload>) == sizeof(WireHeader) + sizeof(Payload));
  static_assert(sizeof(Packed<Payload>) <= net::kMaxMessageBytes);
  Packed<Payload> packed{{kWireVersion, type, sizeof(Payload)}, {}};
  std::memcpy(packed.payload.data(), &payload, sizeof payload);
  return packed;
}

// The type of a message whose header and size are right.
std::optional<MessageType> read_type(std::span<const std::byte> message);

// The payload of a message whose type is known.
template <typename Payload>
Payload read_payload(std::span<const std::byte> message) {
  Payload payload;
  std::memcpy(&payload, message.data() + sizeof(WireHeader), sizeof payload);
  return payload;
}

// Sends and counts. A peer that cannot be reached is the job's business: it is being ended.
void send_message(Node& node, NodeId to, std::span<const std::byte> message, net::Waiter whom = net::Waiter::kAccess);
void send_pages(Node& node, NodeSet to, const proto::PageMessage& message);

}  // namespace dsm::runtime
