// Names for the things every layer talks about: nodes, pages, access rights.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsm {

using NodeId = std::uint8_t;
using NodeSet = std::uint64_t;  // bit n = node n; only the low kMaxNodes bits are used
using PageId = std::uint64_t;   // index of a 4 KiB page in the global range (and of its latch)

inline constexpr unsigned kMaxNodes = 48;
inline constexpr NodeId kNoNode = 0xff;

// What a node may give in one exchange while a job starts (cluster/exchange.h).
inline constexpr std::size_t kMaxExchangeBytes = 4096;

inline constexpr std::size_t kPageShift = 12;
inline constexpr std::size_t kPageBytes = std::size_t{1} << kPageShift;
inline constexpr std::size_t kChunkShift = 21;  // a chunk is private or shared as a whole
inline constexpr std::size_t kChunkBytes = std::size_t{1} << kChunkShift;
inline constexpr std::size_t kPagesPerChunk = kChunkBytes / kPageBytes;

// An address or a size, up to the next whole page.
constexpr std::uint64_t up_to_page(std::uint64_t bytes) { return (bytes + kPageBytes - 1) & ~(kPageBytes - 1); }

constexpr NodeSet node_bit(NodeId node) { return NodeSet{1} << node; }
constexpr bool contains(NodeSet set, NodeId node) { return (set >> node & 1) != 0; }

// What a node may do with a page. kNone, kRead and kWrite are what the application view lets the program do. kObject:
// the view is closed, and the node works on the page's objects beside other nodes (object mode).
enum class Access : std::uint8_t { kNone, kRead, kWrite, kObject };

// Whether who has one kind of access may do what takes the other.
constexpr bool allows(Access have, Access wanted) {
  return have == wanted || wanted == Access::kNone || (have == Access::kWrite && wanted == Access::kRead);
}
// Whether one has to be given up for the other: object mode and the application view exclude each other.
constexpr bool exclude(Access one, Access other) {
  return one != Access::kNone && other != Access::kNone && (one == Access::kObject) != (other == Access::kObject);
}

// A run of consecutive pages.
struct PageRange {
  PageId first;
  std::uint32_t count;

  constexpr PageId end() const { return first + count; }
};

}  // namespace dsm
