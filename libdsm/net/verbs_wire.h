// What nodes tell each other over verbs: once when they meet, and with each message. All is checked before it is used.
#pragma once

#include <array>
#include <cstdint>

#include "base/types.h"
#include "net/verbs_queues.h"

namespace dsm::net::verbs {

inline constexpr std::uint32_t kMagic = 0x64736d76;
inline constexpr std::uint32_t kVersion = 2;  // of everything in this file
inline constexpr unsigned kLanes = 4;         // for execute()
inline constexpr unsigned kAheadLanes = 4;    // for post()
inline constexpr unsigned kAllLanes = kLanes + kAheadLanes;
inline constexpr unsigned kVolleys = 2;  // of a lane
inline constexpr unsigned kVolleyDepth = 128;
inline constexpr std::uint32_t kVolleyBytes = 128 << 10;
inline constexpr unsigned kWindow = 64;               // messages on their way to a node
inline constexpr unsigned kCreditStep = kWindow / 4;  // taken messages are told of in such portions
inline constexpr unsigned kCreditsOnWay = 2 * kWindow / kCreditStep;
inline constexpr unsigned kMailDepth = 2 * kWindow + kCreditsOnWay + 16;
inline constexpr unsigned kSignalEvery = 16;

// A node's part of the first exchange. Queue pairs have the number of the node that they lead to.
struct Hello {
  std::uint32_t magic;
  std::uint32_t version;
  std::uint32_t nodes;
  std::uint32_t table_key;
  Address address;
  std::uint64_t memory_bytes;
  std::uint64_t meta_bytes;
  std::uint64_t memory_base;  // the regions' addresses in the node's process
  std::uint64_t meta_base;
  std::uint64_t table;  // of keys
  std::uint64_t units;
  std::array<std::array<std::uint32_t, kMaxNodes>, kAllLanes> lanes;
  std::array<std::uint32_t, kMaxNodes> mail;
};
static_assert(sizeof(Hello) <= kMaxExchangeBytes);

// The immediate word of a message:
//   31    24 23    16 15                              0
//   |  kind  |  from  |  number of the message, or how many were taken  |
enum class MailKind : std::uint8_t { kMessage = 0xd1, kCredit = 0xd2, kRegister = 0xd3 };
struct MailWord {
  MailKind kind;
  NodeId from;
  std::uint16_t number;
};
constexpr std::uint32_t pack(MailWord word) {
  return std::uint32_t{static_cast<std::uint8_t>(word.kind)} << 24 | std::uint32_t{word.from} << 16 | word.number;
}
constexpr MailWord unpack_mail(std::uint32_t word) {
  return {static_cast<MailKind>(word >> 24), static_cast<NodeId>(word >> 16), static_cast<std::uint16_t>(word)};
}

}  // namespace dsm::net::verbs
