// System calls that the filter of traps.h lets pass.
#pragma once

#include <array>
#include <cstdint>

#include "base/geometry.h"
#include "base/result.h"

namespace dsm::preload {

using Arguments = std::array<std::uint64_t, 6>;

// The kernel's answer: a result, or an error's number negated.
long call_directly(long number, const Arguments& with);
// What lets a call pass: the address behind the library's own instruction, or 4 GiB of addresses of which the gate has
// one page, and nothing else any.
std::uint64_t direct_call_return();
inline constexpr std::uint64_t kGate = 0x1ffe'0000'0000;

// Whether the filter of a job that started this one, as a program of its own, is here still. It lets only the gate
// pass.
bool has_older_filter(const Geometry& geometry);
// From now on calls are made from the gate, which is at the same address in every process. A thread that is cancelled
// there ends, and cleans nothing up: the unwinder does not know the way back.
Result<void> call_from_gate();

}  // namespace dsm::preload
