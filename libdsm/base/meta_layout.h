// Where things lie in a node's meta region: the latch table, indexed by the page's number in the whole global range, and
// behind it the headers of objects, one per granule of memory. Only what belongs to memory homed at that node is ever
// touched.
#pragma once

#include "base/geometry.h"

namespace dsm {

inline constexpr std::uint64_t kLatchBytes = 16;
inline constexpr std::uint64_t kObjectGranule = 64;  // objects never share one
inline constexpr std::uint64_t kHeaderBytes = 8;

constexpr std::uint64_t latch_offset(PageId page) { return page * kLatchBytes; }
constexpr std::uint64_t header_offset(const Geometry& geometry, std::uint64_t address) {
  return geometry.all_pages() * kLatchBytes + (address - geometry.base) / kObjectGranule * kHeaderBytes;
}
constexpr std::uint64_t meta_region_bytes(const Geometry& geometry) {
  return geometry.all_pages() * kLatchBytes + geometry.memory_bytes() / kObjectGranule * kHeaderBytes;
}

}  // namespace dsm
