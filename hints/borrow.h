// Borrows of objects by address (L1), on whatever node: the ground of <dsm/hints.h> and <dsm/hints_c.h>. Threads of the
// program only.
//
//   at the home, shared, small    copied into the pin's own buffer: two looks at the header, no operation
//   at the home, shared, large    in place, with a reader mark in the header
//   at the home, mutable          in place
//   elsewhere, shared             a copy in the cache; found again, one read of the header tells whether it is current
//   elsewhere, mutable            a working copy, which becomes the cache's copy when it has been written back
//   this node is standing owner   its copy is the object: no communication
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "hints/cache.h"
#include "runtime/node.h"
#include "runtime/objects.h"
#include "runtime/pins.h"

namespace dsm::hints {

using runtime::CallSite;
using runtime::Pin;

// The object engine of this node; made at the first use.
struct Engine {
  runtime::Node& node;
  runtime::Objects& objects;
  Cache cache;
  const bool alone;  // the program runs on this node only: borrows ask for no page
  const bool check;  // DSM_CHECK=1
  const int process = ::getpid();
  const std::uint64_t range_begin, range_bytes;  // the global range
  const std::uint64_t slice_begin, slice_bytes;  // what is homed here for sure; alone: all
  std::byte* const slice_view;                   // where borrows at the home work with it

  std::atomic<proto::Header>* const slice_headers;      // nullptr: only through the transport
  const std::atomic<std::uint64_t>* const slice_pages;  // alone: one word, always open
  const unsigned page_shift;                            // alone: all offsets are in that page
  const std::uint64_t quick_bytes;                      // of the slice, where quick.h may begin; 0 with DSM_CHECK=1

  explicit Engine(runtime::Node& node);

  // Of what is homed in this node's slice.
  std::byte* in_place(std::uint64_t address) const { return slice_view + (address - slice_begin); }
  std::atomic<proto::Header>* header(std::uint64_t address) const {
    return slice_headers == nullptr ? nullptr : slice_headers + (address - slice_begin) / kObjectGranule;
  }
};
namespace detail {
extern std::atomic<Engine*> the_engine;
Engine& make_engine();
}  // namespace detail
inline Engine& engine() {
  Engine* made = detail::the_engine.load(std::memory_order_acquire);
  return made != nullptr ? *made : detail::make_engine();
}

// By address (L1): no colour tells whether a copy is good.
inline constexpr std::uint32_t kNoColour = ~std::uint32_t{0};

// Pin::data is what the program uses. A `colour` says that a cached copy of it is the object.
Pin& borrow_shared(const void* object, std::size_t bytes, CallSite site, std::uint32_t colour = kNoColour);
// The same without a try of the quick way (quick.h), for who has tried it.
Pin& borrow_shared_slowly(const void* object, std::size_t bytes, CallSite site, std::uint32_t colour);
Pin& borrow_mut(void* object, std::size_t bytes, CallSite site);
// Ends it. `changed`: false if the program has not written. `to`: who shall be standing owner from now on. The header
// afterwards, of a mutable borrow.
proto::Header end_borrow(Pin& pin, bool changed = true, NodeId to = kNoNode);
// Ends a borrow by address, which may be of an owned object.
void end_hinted(Pin& pin, bool changed);
void transfer(void* object, std::size_t bytes, unsigned node, CallSite site);

// The borrow of this thread that gave the program `data`; nullptr if there is none.
Pin* find_borrow(const void* data);
// A borrow of this thread that gave it before, if that can still be seen.
const Pin* last_borrow(const void* data);

}  // namespace dsm::hints
