// A chain that this CPU executes, on memory that is mapped here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/transport.h"

namespace dsm::net {

using RegionSizes = std::array<std::uint64_t, 2>;  // by Region
using RegionBases = std::array<std::byte*, 2>;     // likewise

constexpr bool is_atomic(const Op& op) { return op.kind == OpKind::kCompareAndSwap || op.kind == OpKind::kFetchAdd; }

// An operation that is not wholly inside its region, or an atomic that is not aligned, is a bug.
void check_bounds(const Op& op, NodeId node, const RegionSizes& sizes);

// REQUIRES: check_bounds of each operation.
void run_on_cpu(std::span<Op> chain, const RegionBases& bases);

}  // namespace dsm::net
