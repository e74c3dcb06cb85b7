// The latch word: who may do what with a page. It lives at the page's home, changes only by atomic operations, and is
// the only truth about the page: messages merely ask somebody to look at it again.
//
//   63   62 61      56 55      51  50   49   48   47                              0
//   | mode | owner^home | reserved | mp | ob | of | set of nodes, one bit each    |
//
// mode exclusive: `owner` holds the page, or is to hold it once every node of `set` has dropped its copy. The members
//                 of `set` may still read, and so may the owner if it did before. With `of` (objects finish) they may
//                 still work on objects, and the owner has no access. Nobody writes until `set` is empty. With `ob`
//                 (owner borrows) the owner has borrows of its own in the page, which go on when it has the page: no
//                 member may go before it. With `mp` (member plain) a member of the set has borrows in the page,
//                 too, and wants it raw for them, before the owner. Together with `of` it waits until it is the only
//                 member left; without `of` it has the page to itself until its borrows end.
// mode shared:    the members of `set` may read; home memory is current. An empty set is a free page.
// mode object:    the members of `set`, never empty, work on objects at the home, each object under its header's
//                 rules; nobody has the page in its application view (an intention lock).
//
// Zero is "exclusive, owner = home, set empty": memory that nobody but its home has ever seen needs no initialisation.
// The owner is kept xor the home to get that. More than 48 nodes: let a bit stand for a group of nodes (a superset of
// the holders is always safe to drop); the owner field has room for 64, the reserved bits for more.
//
// Beside it stands the waiters word: bit n = node n waits for this page. A node sets its bit before it looks at the
// latch word for the last time and goes to sleep, so whoever changes the latch word afterwards sees the bit.
#pragma once

#include <bit>
#include <cstdint>

#include "base/types.h"

namespace dsm::proto {

using Word = std::uint64_t;

// What a page's home keeps for it. Read as a whole (16 bytes) with one operation.
struct Latch {
  Word word;
  NodeSet waiters;
};
static_assert(sizeof(Latch) == 16);

enum class Mode : std::uint8_t { kExclusive = 0, kShared = 1, kObject = 2 };

inline constexpr unsigned kModeShift = 62;
inline constexpr unsigned kOwnerShift = 56;
inline constexpr Word kObjectsFinish = Word{1} << 48;  // `of`: exclusive, and the members of the set finish objects
inline constexpr Word kOwnerBorrows = Word{1} << 49;   // `ob`: with `of` only
inline constexpr Word kMemberPlain = Word{1} << 50;    // `mp`
inline constexpr NodeSet kSetMask = (NodeSet{1} << kMaxNodes) - 1;
static_assert(kMaxNodes <= 48 && kOwnerShift >= 48 && kMaxNodes <= 64);

constexpr Mode mode_of(Word word) { return static_cast<Mode>(word >> kModeShift); }
constexpr NodeSet set_of(Word word) { return word & kSetMask; }
constexpr NodeId owner_of(Word word, NodeId home) { return static_cast<NodeId>((word >> kOwnerShift & 0x3f) ^ home); }

constexpr Word exclusive_word(NodeId owner, NodeId home, NodeSet still_reading = 0) {
  return static_cast<Word>(owner ^ home) << kOwnerShift | still_reading;
}
constexpr Word shared_word(NodeSet readers) { return Word{1} << kModeShift | readers; }
inline constexpr Word kFreeWord = shared_word(0);

constexpr Word object_word(NodeSet participants) { return Word{2} << kModeShift | participants; }

constexpr bool is_shared(Word word) { return mode_of(word) == Mode::kShared; }
constexpr bool is_object(Word word) { return mode_of(word) == Mode::kObject; }
constexpr bool is_exclusive(Word word) { return mode_of(word) == Mode::kExclusive; }
constexpr bool owned_by(Word word, NodeId node, NodeId home) {
  return is_exclusive(word) && owner_of(word, home) == node;
}
constexpr Word without(Word word, NodeId node) { return word & ~node_bit(node); }
// Whether somebody else than the owner may change the page's bytes at its home.
constexpr bool objects_at_work(Word word) { return is_object(word) || (word & kObjectsFinish) != 0; }
// Whether the one member of the set has the page alone, before its owner.
constexpr bool is_members(Word word) { return (word & (kMemberPlain | kObjectsFinish)) == kMemberPlain; }
// The word once `node` has taken itself out of the set.
constexpr Word left_by(Word word, NodeId node) {
  const Word rest = without(word, node);
  if (set_of(rest) != 0) return rest;
  return is_object(rest) ? kFreeWord : rest & ~(kObjectsFinish | kOwnerBorrows | kMemberPlain);
}

// The first member of `set` after `node` in cyclic order; kNoNode for an empty set. Serving waiters in this order is
// what makes hand-overs fair: between two turns of one node every other waiter has had one.
constexpr NodeId next_after(NodeSet set, NodeId node) {
  if (set == 0) return kNoNode;
  const NodeSet later = node + 1 < 64 ? set & ~(node_bit(static_cast<NodeId>(node + 1)) - 1) : 0;
  return static_cast<NodeId>(std::countr_zero(later != 0 ? later : set));
}

static_assert(owner_of(0, 5) == 5 && is_exclusive(0) && set_of(0) == 0);
static_assert(owner_of(exclusive_word(3, 5), 5) == 3);
static_assert(next_after(0b1011, 1) == 3 && next_after(0b1011, 3) == 0 && next_after(0, 3) == kNoNode);

}  // namespace dsm::proto
