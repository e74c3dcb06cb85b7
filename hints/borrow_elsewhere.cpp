// Borrows of objects that are homed at other nodes.
#include <cstring>

#include "base/check.h"
#include "hints/sides.h"
#include "runtime/misuse.h"

namespace dsm::hints {
namespace {

// A copy of the cache that will do, kept alive by the pin; nullptr if there is none.
Copy* keep_copy(Engine& engine, ThreadPins& me, Pin& pin, std::uint64_t address, std::size_t bytes) {
  Copy* const copy = engine.cache.find(me, address);
  if (copy == nullptr) return nullptr;
  pin.copy.store(copy, std::memory_order_relaxed);
  publish(pin, address, bytes, PinKind::kCopy);
  if (copy->address.load(std::memory_order_acquire) == address && copy->bytes.load() == bytes) return copy;
  pin.copy.store(nullptr, std::memory_order_relaxed);
  pin.address.store(0, std::memory_order_release);
  return nullptr;
}

void fetch(Engine& engine, ThreadPins& me, Pin& pin, std::uint64_t address, std::size_t bytes, CallSite site) {
  check_own_borrows(address, bytes, false, site);
  engine.objects.pin(pin, address, bytes, PinKind::kFetch);
  const std::uint64_t seen = engine.cache.forgotten();
  Copy& copy = engine.cache.make(me, bytes);
  const BorrowEvent begin{.kind = BorrowEventKind::kBorrow, .wish = Wish::kRead};
  const Outcome outcome = engine.objects.run(pin.borrow, {address, bytes, copy.data}, begin, site);
  DSM_CHECK(outcome == Outcome::kSnapshot, "outcome {}", static_cast<int>(outcome));
  pin.copy.store(&copy);
  engine.cache.insert(me, copy, address, pin.borrow.word, seen);
  engine.objects.let_pages_go(pin);
  pin.data.store(copy.data);
  count(engine.node.stats->object_miss);
}

Holding* hold(Engine& engine, std::uint64_t address, CallSite site) {
  CallSite earlier;
  Holding* const holding = engine.cache.hold(address, site, &earlier);
  if (holding != nullptr) return holding;
  runtime::end_for_misuse("a mutable borrow of", address, site,
                          "the same thread has it borrowed already, and would wait for itself:", earlier);
}

}  // namespace

Pin& shared_elsewhere(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site,
                      std::uint32_t colour) {
  Pin& pin = take(me, site);
  if (Copy* const copy = keep_copy(engine, me, pin, address, bytes)) {
    Cache::note_use(*copy);
    const Header word = copy->word.load(std::memory_order_relaxed);
    if (proto::colour_of(word) == colour || copy->standing.load(std::memory_order_relaxed)) [[likely]] {
      pin.data.store(copy->data, std::memory_order_relaxed);
      count_some(me.hits, engine.node.stats->object_hit);
      return pin;
    }
    if (colour == kNoColour && engine.objects.is_current(address, bytes, word) && copy->address.load() == address) {
      pin.data.store(copy->data, std::memory_order_relaxed);
      count(engine.node.stats->object_revalidate);
      return pin;
    }
    pin.copy.store(nullptr);
    pin.address.store(0);
  }
  count_rest(engine, me);
  fetch(engine, me, pin, address, bytes, site);
  return pin;
}

// The header keeps the node's threads apart as it does nodes. What stands here is kept apart by its holding.
Pin& mut_elsewhere(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site,
                   bool standing) {
  check_own_borrows(address, bytes, true, site);
  Holding* const holding = standing ? hold(engine, address, site) : nullptr;
  Pin& pin = take(me, site);
  const Copy* current = keep_copy(engine, me, pin, address, bytes);
  engine.objects.pin(pin, address, bytes, PinKind::kWrite);
  if (current != nullptr && current->address.load() != address)
    current = nullptr;  // it went before the pages were held
  Copy& work = engine.cache.make(me, bytes);
  const bool stands = holding != nullptr && holding->standing;
  if (stands && current == nullptr) {
    runtime::end_for_misuse("a borrow with another size than the one before, of", address, site, "", {});
  }
  if (!stands) {
    const Header known = current != nullptr ? current->word.load() : 0;
    const BorrowEvent begin{
        .kind = BorrowEventKind::kBorrow, .wish = Wish::kWrite, .have = current != nullptr, .copy = known};
    const Outcome outcome = engine.objects.run(pin.borrow, {address, bytes, work.data}, begin, site);
    const bool as_known = current != nullptr && proto::version_of(known) == proto::version_of(pin.borrow.word);
    if (outcome == Outcome::kStanding && holding == nullptr) {
      engine.cache.retire(me, work);
      engine.objects.unpin(pin);
      return mut_elsewhere(engine, me, address, bytes, site, true);
    }
    if (outcome == Outcome::kStanding) {
      Copy& kept = engine.cache.make(me, bytes);
      std::memcpy(kept.data, as_known ? current->data : work.data, bytes);
      engine.cache.stand(*holding, kept, pin.borrow.word, false);
    }
    if (!as_known) current = nullptr;
    count(engine.node.stats->object_write);
  }
  if (current != nullptr) std::memcpy(work.data, current->data, bytes);
  pin.data.store(work.data);
  pin.note = reinterpret_cast<std::uint64_t>(holding);
  pin.copy.store(&work);
  return pin;
}

Header end_elsewhere(Engine& engine, Pin& pin, bool changed, NodeId to) {
  ThreadPins& me = runtime::my_pins();
  auto* const holding = reinterpret_cast<Holding*>(pin.note);
  const std::uint64_t address = pin.address.load(), bytes = pin.bytes.load();
  Copy& work = *copy_of(pin);
  if (holding != nullptr && holding->standing) {
    if (changed) {
      engine.cache.stand(*holding, work, holding->copy->word.load(), true);
    } else {
      engine.cache.retire(me, work);
    }
  } else {
    const std::uint64_t seen = engine.cache.forgotten();
    const BorrowEvent release{.kind = BorrowEventKind::kRelease, .changed = changed, .to = to};
    engine.objects.run(pin.borrow, {address, bytes, work.data}, release, pin.site);
    if (changed) count(engine.node.stats->object_write_back);
    if (to == engine.node.self) {
      engine.cache.stand(*holding, work, pin.borrow.word, false);
    } else {
      engine.cache.insert(me, work, address, proto::at_rest(pin.borrow.word), seen);
    }
  }
  const Header word = pin.borrow.word;
  give_pin_back(engine, pin);
  if (holding != nullptr) engine.cache.let_go(*holding);
  return word;
}

}  // namespace dsm::hints
