// Where things lie in a node's meta region.
//
//   | latch table | headers of objects | lent chunks | lessees of the lent chunks |
//
// 1. The latch table is indexed by the page's number in the whole global range, the headers by the granule of memory.
//    Only what belongs to memory homed at that node is ever touched.
// 2. The rest is used at the first memory node alone: how many chunks of the lent memory have been lent (from its start
//    upwards), and for each of them who has it (its node + 1), one byte a chunk.
#pragma once

#include "base/geometry.h"

namespace dsm {

inline constexpr std::uint64_t kLatchBytes = 16;
inline constexpr std::uint64_t kObjectGranule = 64;  // objects that begin in one share its header
inline constexpr std::uint64_t kHeaderBytes = 8;

constexpr std::uint64_t granule_of(std::uint64_t address) { return address & ~(kObjectGranule - 1); }

constexpr std::uint64_t latch_offset(PageId page) { return page * kLatchBytes; }
constexpr std::uint64_t header_offset(const Geometry& geometry, std::uint64_t address) {
  return geometry.all_pages() * kLatchBytes + (address - geometry.base) / kObjectGranule * kHeaderBytes;
}
constexpr std::uint64_t lent_chunks_offset(const Geometry& geometry) {
  return header_offset(geometry, geometry.base + geometry.memory_bytes());
}
constexpr std::uint64_t lessee_offset(const Geometry& geometry, std::uint64_t chunk) {
  return lent_chunks_offset(geometry) + kLatchBytes + chunk;
}
constexpr std::uint64_t meta_region_bytes(const Geometry& geometry) {
  return lessee_offset(geometry, geometry.memory_nodes * geometry.slice_pages() / kPagesPerChunk);
}

}  // namespace dsm
