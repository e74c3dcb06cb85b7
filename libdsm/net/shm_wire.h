// What processes of one job share behind each node's meta region: the node's mailbox. Every node may write to it, so
// whatever is read from it is checked before it is used.
//
//   meta_bytes, rounded up to a page | Mailbox: stamp, bells | Ring from node 0 | Ring from node 1 | ...
//
// 1. A ring has one producer (its sender, under the sender's lock) and one consumer (the receiver's polling thread).
// 2. Message number n (from 0) lies in slot n % kRingSlots; its word is stored last and makes the slot valid.
// 3. Zero-filled memory is an empty mailbox with nobody asleep.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/types.h"
#include "net/transport.h"

namespace dsm::net::shm {

inline constexpr std::uint8_t kMagic = 0xd5;
inline constexpr std::uint8_t kVersion = 1;  // of everything in this file
inline constexpr std::uint64_t kRingSlots = 256;
inline constexpr std::size_t kLineBytes = 64;

// The head of a slot, one word:
//   63    56 55     48 47    40 39    32 31                                0
//   |  magic | version | sender | length |  sequence: message number + 1   |
struct SlotWord {
  std::uint8_t magic;
  std::uint8_t version;
  NodeId sender;
  std::uint8_t length;
  std::uint32_t sequence;
};

constexpr std::uint64_t pack(const SlotWord& word) {
  return std::uint64_t{word.magic} << 56 | std::uint64_t{word.version} << 48 | std::uint64_t{word.sender} << 40 |
         std::uint64_t{word.length} << 32 | word.sequence;
}
constexpr SlotWord unpack(std::uint64_t word) {
  return {static_cast<std::uint8_t>(word >> 56), static_cast<std::uint8_t>(word >> 48),
          static_cast<NodeId>(word >> 40 & 0xff), static_cast<std::uint8_t>(word >> 32 & 0xff),
          static_cast<std::uint32_t>(word)};
}
constexpr std::uint32_t sequence_of(std::uint64_t number) { return static_cast<std::uint32_t>(number + 1); }

// Does the slot of message `number` still hold what was there a lap before? Anything else is checked, then used.
constexpr bool is_empty(std::uint64_t word, std::uint64_t number) {
  return number < kRingSlots ? word == 0 : unpack(word).sequence == sequence_of(number - kRingSlots);
}

struct Slot {
  std::atomic<std::uint64_t> word;
  std::atomic<std::int64_t> due_ns;  // not to be delivered before (CLOCK_MONOTONIC); 0: at once
  std::byte payload[kMaxMessageBytes];
};
static_assert(sizeof(Slot) == 256 && kMaxMessageBytes <= 0xff);

struct Ring {
  alignas(kLineBytes) std::atomic<std::uint64_t> consumed;  // by the receiver; never more than was sent
  alignas(kLineBytes) std::atomic<std::uint32_t> stalled;   // 1: ring the sender for room; the sender's to change
  alignas(kLineBytes) Slot slots[kRingSlots];

  Slot& slot(std::uint64_t number) { return slots[number % kRingSlots]; }
};
static_assert(sizeof(Ring) == 2 * kLineBytes + kRingSlots * sizeof(Slot));

// States of a bell. Asleep is set by the waiter alone; whoever takes it away owes the futex a wake.
inline constexpr std::uint32_t kAwake = 0;
inline constexpr std::uint32_t kAsleep = 1;
inline constexpr std::uint32_t kWoken = 2;      // wake() was called; the waiter's next or present wait() ends
inline constexpr std::uint32_t kAttending = 3;  // access waiter: awake, and will look for messages before it leaves

struct Mailbox {
  alignas(kLineBytes) std::atomic<std::uint64_t> stamp;     // 0, or stamp(): who opens a mailbox first writes it
  alignas(kLineBytes) std::atomic<std::uint32_t> bells[2];  // by Waiter

  std::atomic<std::uint32_t>& bell(Waiter who) { return bells[static_cast<std::size_t>(who)]; }
  Ring& ring(NodeId sender) { return reinterpret_cast<Ring*>(this + 1)[sender]; }
};
static_assert(sizeof(Mailbox) == 2 * kLineBytes && alignof(Mailbox) == alignof(Ring));
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

// What two nodes must agree on to share a mailbox.
constexpr std::uint64_t stamp(unsigned nodes) {
  return std::uint64_t{kMagic} << 56 | std::uint64_t{kVersion} << 48 | std::uint64_t{nodes} << 32 | kRingSlots;
}

constexpr std::uint64_t mailbox_offset(std::uint64_t meta_bytes) { return up_to_page(meta_bytes); }
constexpr std::uint64_t mailbox_bytes(unsigned nodes) { return up_to_page(sizeof(Mailbox) + nodes * sizeof(Ring)); }

}  // namespace dsm::net::shm
