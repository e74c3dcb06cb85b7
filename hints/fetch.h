// Copies of many objects at once: one chain of operations for each home, in pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hints/borrow.h"

namespace dsm::hints {

struct Wanted {
  std::uint64_t address;
  std::uint16_t colour;
};

// Puts what is missing into the cache, as far as nobody is changing it; the rest is fetched when it is borrowed.
void fetch_all(std::span<Wanted> objects, std::size_t bytes, CallSite site);

}  // namespace dsm::hints
