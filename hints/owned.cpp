// Owned objects (L2): <dsm/hints.h> stands on this.
//
// An owner's bits: | colour 16 | being changed 1 | address 47 |. The colour is the low half of the version that the
// object had when its owner last changed it, so a copy of that colour is the object: to see that costs no
// communication. The owner's own node changes the object in place and its colour with it; another node moves it to
// itself.
#include <dsm/hints.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "hints/borrow.h"
#include "hints/borrow_many.h"
#include "hints/checks.h"
#include "hints/fetch.h"
#include "hints/quick.h"
#include "runtime/blocks.h"
#include "runtime/calls.h"
#include "runtime/misuse.h"

namespace dsm::detail {
namespace {

using hints::CallSite;
using hints::Engine;
using hints::Pin;

constexpr std::uint64_t kBeingChanged = std::uint64_t{1} << 47;
constexpr unsigned kColourShift = 48;

CallSite site_of(call_site site) { return {site.file, site.line}; }
void* pointer_of(std::uint64_t address) { return reinterpret_cast<void*>(address); }
Pin& pin_of(void* pin) { return *static_cast<Pin*>(pin); }
borrowed as_borrowed(Pin& pin) { return {pin.data.load(std::memory_order_relaxed), &pin}; }

std::uint64_t bits_of(std::uint64_t address, proto::Header word) {
  return address | static_cast<std::uint64_t>(proto::colour_of(word)) << kColourShift;
}

std::uint64_t check_owner(std::uint64_t bits, CallSite site) {
  const std::uint64_t address = address_of_bits(bits);
  if (address == 0) runtime::end_for_misuse("a borrow of an owner that is empty or was moved from,", 0, site, "", {});
  if ((bits & kBeingChanged) != 0) {
    runtime::end_for_misuse("a borrow of", address, site, "its owner is borrowed to change it", {});
  }
  return address;
}

// Ends the borrow that changed the object. A colour that was in use 2^16 changes ago may have copies left somewhere.
std::uint64_t end_and_colour(Pin& pin, bool changed) {
  const std::uint64_t address = pin.address.load(std::memory_order_relaxed);
  const proto::Header word = hints::end_borrow(pin, changed);
  if (changed && proto::colour_wraps(proto::version_of(word))) hints::engine().objects.forget_everywhere(address);
  return bits_of(address, word);
}

// The object's bytes go into a new block, which is borrowed to change it; the old one is freed.
void move_into(Engine& engine, Pin& fresh, std::uint64_t old_address, std::size_t bytes, CallSite site) {
  Pin& old = hints::borrow_mut(pointer_of(old_address), bytes, site);
  std::memcpy(fresh.data.load(), old.data.load(), bytes);
  hints::end_borrow(old, false);
  engine.node.blocks->release(pointer_of(old_address));
  count(engine.node.stats->object_move);
}

[[gnu::noinline]] borrowed borrow_owned_slowly(std::uint64_t bits, std::size_t bytes, call_site site) {
  const std::uint64_t address = check_owner(bits, site_of(site));
  const auto colour = static_cast<std::uint32_t>(bits >> kColourShift);
  return as_borrowed(hints::borrow_shared_slowly(pointer_of(address), bytes, site_of(site), colour));
}
[[gnu::noinline]] borrowed borrow_slowly(const void* object, std::size_t bytes, call_site site) {
  return as_borrowed(hints::borrow_shared_slowly(object, bytes, site_of(site), hints::kNoColour));
}

}  // namespace

borrowed owned_new(std::size_t bytes, call_site site) {
  Engine& engine = hints::engine();
  void* block = bytes - 1 < hints::kMostBytes ? engine.objects.new_block(bytes) : nullptr;
  return block == nullptr ? borrowed{} : as_borrowed(hints::borrow_mut(block, bytes, site_of(site)));
}

std::uint64_t owned_begin(void* pin) { return end_and_colour(pin_of(pin), true); }

// An owner that is empty or being changed names no address of this node's.
borrowed borrow_owned_shared(std::uint64_t bits, std::size_t bytes, call_site site) {
  constexpr std::uint64_t kNoColourBits = (std::uint64_t{1} << kColourShift) - 1;
  Pin* const pin = hints::borrow_shared_quickly(bits & kNoColourBits, bytes, site_of(site));
  if (pin == nullptr) [[unlikely]]
    return borrow_owned_slowly(bits, bytes, site);
  return {pin->scratch, pin};
}

// On another node than the home: the object moves here. If there is no room for it, it is changed where it is. The
// owner is written while nothing is held: it may lie in memory that somebody else is working with.
borrowed borrow_owned_mut(std::uint64_t* bits, std::size_t bytes, call_site site) {
  Engine& engine = hints::engine();
  const std::uint64_t address = check_owner(*bits, site_of(site));
  void* const block = engine.objects.home_of(address) == engine.node.self ? nullptr : engine.objects.new_block(bytes);
  void* const object = block != nullptr ? block : pointer_of(address);
  *bits = reinterpret_cast<std::uint64_t>(object) | (*bits & ~address_of_bits(~std::uint64_t{0})) | kBeingChanged;
  Pin& pin = hints::borrow_mut(object, bytes, site_of(site));
  if (block != nullptr) move_into(engine, pin, address, bytes, site_of(site));
  pin.owner_bits = bits;
  return as_borrowed(pin);
}

void end_owned_mut(void* pin, bool changed) {
  std::uint64_t* const bits = pin_of(pin).owner_bits;
  *bits = end_and_colour(pin_of(pin), changed);
}

borrowed owned_end(std::uint64_t bits, std::size_t bytes, call_site site) {
  return as_borrowed(hints::borrow_mut(pointer_of(address_of_bits(bits)), bytes, site_of(site)));
}

void owned_free(std::uint64_t bits, void* pin) {
  if (pin != nullptr) hints::end_borrow(pin_of(pin), false);
  hints::engine().node.blocks->release(pointer_of(address_of_bits(bits)));
}

std::uint64_t owned_transfer(std::uint64_t bits, std::size_t bytes, unsigned node, call_site site) {
  Engine& engine = hints::engine();
  const std::uint64_t address = check_owner(bits, site_of(site));
  if (node >= engine.node.geometry.program_nodes()) {
    runtime::end_for_misuse("a transfer to a node that does not exist, of", address, site_of(site), "", {});
  }
  const auto to = static_cast<NodeId>(node);
  if (to == engine.objects.home_of(address)) return bits;
  void* block = nullptr;
  if (to == engine.node.self) {
    block = engine.objects.new_block(bytes);
  } else {
    block = pointer_of(runtime::Call(engine.node, to, runtime::Operation::kObjectBlock, {bytes, 0, 0}).wait());
  }
  if (block == nullptr) return bits;  // no room there: it stays
  Pin& pin = hints::borrow_mut(block, bytes, site_of(site));
  move_into(engine, pin, address, bytes, site_of(site));
  return end_and_colour(pin, true);
}

void owned_fetch(const std::uint64_t* const* bits, std::size_t count, std::size_t bytes, call_site site) {
  std::vector<hints::Wanted> wanted;
  wanted.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t address = check_owner(*bits[i], site_of(site));
    wanted.push_back({address, static_cast<std::uint16_t>(*bits[i] >> kColourShift)});
  }
  hints::begin_fetches(wanted, bytes, site_of(site));
}

void end_for_tie(const void* target) {
  runtime::end_for_misuse("a tied_ptr is in another block than what it is to point to, the object",
                          reinterpret_cast<std::uint64_t>(target), {}, "", {});
}

void owned_check_idle(std::uint64_t bits, owner_end how) {
  if ((bits & kBeingChanged) == 0) [[likely]]
    return;
  const std::uint64_t address = address_of_bits(bits);
  CallSite begun;
  runtime::for_each_pin([&](const Pin& pin) {
    if (pin.address.load() == address) begun = pin.site;
  });
  runtime::end_for_misuse(how == owner_end::moved ? "an owner is moved inside the mutable borrow of its object"
                                                  : "an owner is destroyed inside the mutable borrow of its object",
                          address, {}, "the borrow began", begun);
}

// --- by address (L1) ------------------------------------------------------------------------------------------------

borrowed borrow_shared(const void* object, std::size_t bytes, call_site site) {
  Pin* const pin = hints::borrow_shared_quickly(reinterpret_cast<std::uint64_t>(object), bytes, site_of(site));
  if (pin == nullptr) [[unlikely]]
    return borrow_slowly(object, bytes, site);
  return {pin->scratch, pin};
}
void borrow_shared_each(const void* const* objects, borrowed* to, std::size_t count, std::size_t bytes,
                        call_site site) {
  std::vector<Pin*> pins(count);
  hints::borrow_shared_many({objects, count}, bytes, pins, site_of(site));
  std::transform(pins.begin(), pins.end(), to, [](Pin* pin) { return as_borrowed(*pin); });
}
borrowed borrow_mut(void* object, std::size_t bytes, call_site site) {
  return as_borrowed(hints::borrow_mut(object, bytes, site_of(site)));
}
void end_shared(void* pin) {
  if (!hints::end_quickly(pin_of(pin))) hints::end_borrow(pin_of(pin));
}
void end_mut(void* pin, bool changed) { hints::end_hinted(pin_of(pin), changed); }
void transfer(void* object, std::size_t bytes, unsigned node, call_site site) {
  hints::transfer(object, bytes, node, site_of(site));
}

}  // namespace dsm::detail
