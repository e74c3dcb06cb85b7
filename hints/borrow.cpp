#include "hints/borrow.h"

#include "base/tsan.h"
#include "hints/checks.h"
#include "hints/quick.h"
#include "hints/sides.h"
#include "proto/life.h"
#include "runtime/misuse.h"

namespace dsm::hints {
namespace {

bool is_here(const Engine& engine, std::uint64_t address, std::size_t bytes) {
  if (address - engine.slice_begin < engine.slice_bytes) [[likely]]
    return true;
  if (address - engine.node.geometry.base < engine.node.geometry.slice_bytes * engine.node.geometry.nodes) return false;
  const proto::ObjectPlace place = engine.objects.place(address, bytes);
  return place.home == engine.node.self && !place.scattered;
}

bool stands_here(Engine& engine, ThreadPins& me, std::uint64_t address) {
  const Copy* const copy = engine.cache.find(me, address);
  return copy != nullptr && copy->standing.load(std::memory_order_relaxed);
}

void check_with_others(const Engine& engine, std::uint64_t address, std::size_t bytes, CallSite site) {
  check_in_use(engine, address, site);
  check_overlaps(address, bytes, site);
}

Pin& with_callers(const Engine& engine, Pin& pin) {
  if (engine.check) [[unlikely]]
    runtime::note_callers(pin);
  return pin;
}

}  // namespace

Pin& borrow_shared(const void* object, std::size_t bytes, CallSite site, std::uint32_t colour) {
  Pin* const pin = borrow_shared_quickly(reinterpret_cast<std::uint64_t>(object), bytes, site);
  if (pin != nullptr) [[likely]]
    return *pin;
  return borrow_shared_slowly(object, bytes, site, colour);
}

Pin& borrow_shared_slowly(const void* object, std::size_t bytes, CallSite site, std::uint32_t colour) {
  Engine& here = engine();
  const auto address = reinterpret_cast<std::uint64_t>(object);
  check_object(here, address, bytes, site);
  if (here.check) check_with_others(here, address, bytes, site);
  ThreadPins& me = runtime::my_pins();
  if (is_here(here, address, bytes)) return with_callers(here, shared_here(here, me, address, bytes, site));
  return with_callers(here, shared_elsewhere(here, me, address, bytes, site, colour));
}

Pin& borrow_mut(void* object, std::size_t bytes, CallSite site) {
  Engine& here = engine();
  const auto address = reinterpret_cast<std::uint64_t>(object);
  check_object(here, address, bytes, site);
  if (here.check) check_with_others(here, address, bytes, site);
  ThreadPins& me = runtime::my_pins();
  if (is_here(here, address, bytes)) return with_callers(here, mut_here(here, me, address, bytes, site));
  return with_callers(here, mut_elsewhere(here, me, address, bytes, site));
}

Header end_borrow(Pin& pin, bool changed, NodeId to) {
  if (end_quickly(pin)) return 0;
  Engine& here = engine();
  const bool elsewhere = pin.copy.load(std::memory_order_relaxed) != nullptr;
  return elsewhere ? end_elsewhere(here, pin, changed, to) : end_here(here, pin, changed, to);
}

// The owner of a coloured object cannot be told its new colour, so no copy of the old one may stay anywhere: they go
// before the change can be seen, and while it is being written nobody can fetch another. A large object of another node
// is not yet being written then, so its copies go once more. Of an object without a colour they go when the colours
// begin anew: its memory may be an owned one's in its next life.
void end_hinted(Pin& pin, bool changed) {
  tsan_after(&pin.borrow);  // holdings.cpp, give_back()
  const bool mutable_borrow = pin.kind.load(std::memory_order_relaxed) == runtime::PinKind::kWrite;
  const std::uint64_t address = pin.address.load();
  if (!mutable_borrow || !changed || !proto::is_coloured(pin.borrow.word)) [[likely]] {
    const std::uint64_t version = proto::version_of(end_borrow(pin, changed));
    if (version != 0 && proto::colour_wraps(version)) [[unlikely]]
      engine().objects.forget_everywhere(granule_of(address));
    return;
  }
  runtime::Objects& objects = engine().objects;
  const std::uint64_t bytes = pin.bytes.load();
  const bool elsewhere = pin.copy.load() != nullptr && !pin.borrow.give_back;
  const bool small = objects.place(address, bytes).small;
  if (elsewhere && small) objects.begin_writing(pin.borrow, address);
  objects.forget_everywhere(address);
  end_borrow(pin, changed);
  if (elsewhere && !small) objects.forget_everywhere(address);
}

// A standing object that goes to another node is given back first. It may be standing again by the time it is borrowed.
// One that may not stand stays at its home.
void transfer(void* object, std::size_t bytes, unsigned node, CallSite site) {
  Engine& here = engine();
  const auto address = reinterpret_cast<std::uint64_t>(object);
  check_object(here, address, bytes, site);
  if (here.check) check_in_use(here, address, site);
  if (node >= here.node.geometry.program_nodes()) {
    runtime::end_for_misuse("a transfer to a node that does not exist, of", address, site, "", {});
  }
  ThreadPins& me = runtime::my_pins();
  const NodeId home = here.objects.home_of(address);
  const auto to = proto::may_stand(address, bytes) ? static_cast<NodeId>(node) : home;
  if (is_here(here, address, bytes)) {
    end_borrow(mut_here(here, me, address, bytes, site), false, to == home ? kNoNode : to);
    return;
  }
  for (bool standing = true; standing;) {
    if (to != here.node.self && stands_here(here, me, address)) here.cache.recalled(address);
    Pin& pin = mut_elsewhere(here, me, address, bytes, site);
    standing = to != here.node.self && reinterpret_cast<Holding*>(pin.note)->standing;
    end_borrow(pin, false, to == home || standing ? kNoNode : to);
  }
}

Pin* find_borrow(const void* data) {
  Pin* found = nullptr;
  runtime::my_pins().for_each([&](const Pin& pin) {
    if (pin.data.load() == data) found = const_cast<Pin*>(&pin);
  });
  return found;
}

const Pin* last_borrow(const void* data) {
  for (const runtime::PinBlock* block = runtime::my_pins().first.load(); block != nullptr; block = block->next.load()) {
    for (const Pin& pin : block->pins) {
      if (pin.data.load() == data) return &pin;
    }
  }
  return nullptr;
}

}  // namespace dsm::hints
