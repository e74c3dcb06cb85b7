// What launchers of different hosts say to each other over TCP: frames of a head, a payload of bounded length, and a
// tag.
//
//   host 0 -> host i   Challenge (a nonce)                          untagged
//   host i -> host 0   Hello (a nonce, who I am, my options)        tagged: it has the key
//   host 0 -> host i   Welcome (how many nodes each host has)       tagged: so has host 0; or Refused, see below
//   both               Shares, Finished, Broken, Ended, Over        tagged
//
// A tag is over both nonces, the direction, the frame's number in that direction, head and payload: so nothing can be
// forged, replayed, reordered or left out by those who have no key. It is not encrypted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/types.h"
#include "cluster/exchange.h"
#include "cluster/other_hosts.h"
#include "hosts/job_key.h"

namespace dsm::hosts {

inline constexpr std::uint32_t kFrameMagic = 0x484d5344;  // "DSMH"
inline constexpr std::uint16_t kFrameVersion = 2;
inline constexpr unsigned kMaxHosts = kMaxNodes;

enum class FrameKind : std::uint16_t {
  kChallenge = 1,
  kHello,
  kWelcome,
  kRefused,
  kShares,    // any number of { node, bytes, data }
  kFinished,  // to host 0: all nodes of that host are through; from it: those of all hosts are
  kBroken,
  kEnded,  // no process of that host is left
  kOver,   // none is left on any
};

struct FrameHead {
  std::uint32_t magic;
  std::uint16_t version;
  FrameKind kind;
  std::uint32_t bytes;  // of the payload
  std::uint32_t zero;
};
static_assert(sizeof(FrameHead) == 16);

struct Challenge {
  Nonce nonce;
};
static_assert(sizeof(Challenge) == 32);

struct Hello {
  Nonce nonce;
  std::uint32_t hosts;
  std::uint32_t host;
  std::uint32_t nodes;  // of the program, on that host
  std::uint32_t zero;
  char options[2032];  // those that must be the same on all nodes
};
static_assert(sizeof(Hello) == 2080);

struct Welcome {
  std::uint32_t hosts;
  std::uint32_t nodes[kMaxHosts];  // of the program; the places of memory nodes follow from these (meeting.h)
};
static_assert(sizeof(Welcome) == 4 + 4 * kMaxHosts);

// Untagged if the other side has not shown that it has the key; then only `reason` counts, and `text` is empty.
struct Refused {
  enum class Reason : std::uint32_t { kOtherVersion = 1, kOtherKey, kText };
  Reason reason;
  char text[508];
};
static_assert(sizeof(Refused) == 512);

struct ShareHead {
  std::uint32_t node;
  std::uint32_t bytes;
};
static_assert(sizeof(ShareHead) == 8);

struct Broken {
  std::uint32_t node;
  std::int32_t pid;
  std::int32_t exit_code;
  std::uint32_t zero;
  char how[104];
  char sentence[392];
};
static_assert(sizeof(Broken) == 512);

struct Ended {
  std::int32_t exit_code;
};
static_assert(sizeof(Ended) == 4);

using cluster::NodeShares;

std::vector<std::byte> pack(const NodeShares& shares);
// Nothing unless the payload is what pack() makes of the shares of just those nodes, in order.
std::optional<NodeShares> unpack(std::span<const std::byte> payload, NodeSet nodes);
Broken pack(const cluster::Breakage& breakage);
// Nothing unless it names one of those nodes.
std::optional<cluster::Breakage> unpack(const Broken* broken, NodeSet nodes);

// No payload is longer.
inline constexpr std::size_t kMaxPayload = kMaxNodes * (sizeof(ShareHead) + kMaxExchangeBytes);

}  // namespace dsm::hosts
