// The header word of an object: who may change it, and how often it has been changed. One per 64-byte granule of its
// home's memory, in that node's meta region; changes only by atomic operations; outlives free and reuse of the block.
//
//   63      19 18       17   16 15    10 9    4 3   2 1       0
//   | version | coloured | spare | readers | owner | hold | writing | asked |
//
// version:  one more at each change of the bytes, and at each free; its low 16 bits are the colour of an owned pointer.
// coloured: owned pointers name this object by its colour.
// readers:  borrows that hold off `writing`: in place at the home, or a reader whose turn came in the home's queue.
// hold:     free; locked: `owner` has the mutable borrow; standing: `owner` (never the home) keeps the object by
//           transfer, and what it has may be newer than the home's bytes.
// writing:  the home's bytes are being changed: who reads them meanwhile reads again.
// asked:    somebody waits in the home's queue. While it is set only that queue grants, and who releases tells it.
//
// Zero is "free, never changed", so headers need no initialisation. Fields are added and taken away exactly, so one
// fetch-and-add releases; the version is on top, where its overflow does no harm.
#pragma once

#include <cstdint>

#include "base/types.h"

namespace dsm::proto {

using Header = std::uint64_t;

enum class Hold : std::uint8_t { kFree = 0, kLocked = 1, kStanding = 2 };

inline constexpr Header kAsked = 1;
inline constexpr Header kWriting = 2;
inline constexpr unsigned kHoldShift = 2;
inline constexpr unsigned kHolderShift = 4;
inline constexpr unsigned kReadersShift = 10;
inline constexpr unsigned kMostReaders = 63;
inline constexpr Header kOneReader = Header{1} << kReadersShift;
inline constexpr Header kColoured = Header{1} << 18;
inline constexpr unsigned kVersionShift = 19;
inline constexpr Header kOneVersion = Header{1} << kVersionShift;
inline constexpr Header kHoldMask = Header{0xff} << kHoldShift;  // hold and owner
static_assert(kMaxNodes <= 64);

constexpr Hold hold_of(Header word) { return static_cast<Hold>(word >> kHoldShift & 3); }
constexpr NodeId holder_of(Header word) { return static_cast<NodeId>(word >> kHolderShift & 0x3f); }
constexpr unsigned readers_of(Header word) { return static_cast<unsigned>(word >> kReadersShift & kMostReaders); }
constexpr std::uint64_t version_of(Header word) { return word >> kVersionShift; }
constexpr std::uint16_t colour_of(Header word) { return static_cast<std::uint16_t>(version_of(word)); }
constexpr bool is_asked(Header word) { return (word & kAsked) != 0; }
constexpr bool is_writing(Header word) { return (word & kWriting) != 0; }
constexpr bool is_coloured(Header word) { return (word & kColoured) != 0; }
constexpr bool is_free(Header word) { return hold_of(word) == Hold::kFree; }

// The home's bytes are the object's, and nobody is changing them.
constexpr bool is_readable(Header word) {
  return (word & (kWriting | static_cast<Header>(Hold::kStanding) << kHoldShift)) == 0;
}
// What was read between the two was not changed: `before` is readable.
constexpr bool is_same_version(Header before, Header after) {
  return (after & kWriting) == 0 && version_of(before ^ after) == 0;
}

constexpr Header held_by(Hold hold, NodeId node) {
  return static_cast<Header>(hold) << kHoldShift | static_cast<Header>(node) << kHolderShift;
}
constexpr bool is_held(Header word, Hold hold, NodeId node) { return (word & kHoldMask) == held_by(hold, node); }
// What the word is when nobody does anything with the object: version and coloured.
constexpr Header at_rest(Header word) { return word & ~(kColoured - 1); }
// Whether the change from one version to the next makes a colour repeat that was in use long ago.
constexpr bool colour_wraps(std::uint64_t new_version) { return (new_version & 0xffff) == 0; }

static_assert(held_by(Hold::kFree, 0) == 0 && is_free(0) && readers_of(kOneReader * 63) == 63);
static_assert(is_readable(held_by(Hold::kLocked, 47)) && !is_readable(held_by(Hold::kStanding, 0)));
static_assert(held_by(Hold::kStanding, 47) < kOneReader && kOneReader * kMostReaders < kColoured);

}  // namespace dsm::proto
