// Where things lie in a node's meta region: the latch table, indexed by the page's number in the whole global range.
// Only the entries of pages homed at that node are ever touched.
#pragma once

#include "base/geometry.h"

namespace dsm {

inline constexpr std::uint64_t kLatchBytes = 16;

constexpr std::uint64_t latch_offset(PageId page) { return page * kLatchBytes; }
constexpr std::uint64_t meta_region_bytes(const Geometry& geometry) { return geometry.all_pages() * kLatchBytes; }

}  // namespace dsm
