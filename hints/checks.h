// What is wrong with a borrow before it begins. Each ends the program with one line.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hints/borrow.h"
#include "runtime/misuse.h"

namespace dsm::hints {

inline constexpr std::size_t kMostBytes = std::size_t{64} << 20;

[[noreturn]] void end_for_object(std::uint64_t address, std::size_t bytes, CallSite site);
inline void check_object(const Engine& engine, std::uint64_t address, std::size_t bytes, CallSite site) {
  const bool sane = bytes - 1 < kMostBytes && address - engine.range_begin <= engine.range_bytes - bytes;
  if (!sane) [[unlikely]]
    end_for_object(address, bytes, site);
}
// A function that call_at runs borrows.
[[noreturn]] void end_for_borrow_in_call(CallSite site);
// The thread has borrowed the object itself, so that the new borrow would wait for ever.
void check_own_borrows(std::uint64_t address, std::size_t bytes, bool changes, CallSite site);
// DSM_CHECK=1: what this node keeps and no block in use has is not to be borrowed.
void check_in_use(const Engine& engine, std::uint64_t address, CallSite site);
// DSM_CHECK=1: a borrow names the same bytes as another, or none of them.
void check_overlaps(std::uint64_t address, std::size_t bytes, CallSite site);

}  // namespace dsm::hints
