// Shared borrows of many objects by address at once: what is not at hand is looked at, and fetched, by one chain of
// operations for each home instead of one for each object.
#pragma once

#include <cstddef>
#include <span>

#include "hints/borrow.h"

namespace dsm::hints {

// pins[i] is the borrow of objects[i], all of `bytes` bytes. The same object may stand there several times.
void borrow_shared_many(std::span<const void* const> objects, std::size_t bytes, std::span<Pin*> pins, CallSite site);

}  // namespace dsm::hints
