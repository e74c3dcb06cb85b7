// Borrows of objects that are homed at other nodes.
#include <cstring>
#include <optional>

#include "base/check.h"
#include "base/tsan.h"
#include "hints/fetch.h"
#include "hints/sides.h"
#include "proto/life.h"
#include "runtime/misuse.h"

namespace dsm::hints {
namespace {

// A header that the object is known to have had at some time, nobody writing; see Borrow::knows.
using Known = std::optional<Header>;

// What made the colour, a change of the object, was complete; as long as there were fewer than 2^16 it is the version.
Known known_by(std::uint32_t colour) {
  return colour == kNoColour ? Known{} : Known{Header{colour} << proto::kVersionShift};
}

// Fetches the object. False: what was fetched may be older than what this node has as its standing owner, or has just
// given back; `again` has not been asked yet.
bool fetch(Engine& engine, ThreadPins& me, Pin& pin, std::uint64_t address, std::size_t bytes, Known known,
           bool again) {
  engine.objects.pin(pin, address, bytes, PinKind::kFetch);
  const std::uint64_t seen = engine.cache.forgotten();
  Copy& copy = engine.cache.make(me, bytes);
  const BorrowEvent begin{
      .kind = BorrowEventKind::kBorrow, .wish = Wish::kRead, .knows = known.has_value(), .known = known.value_or(0)};
  const Outcome outcome = engine.objects.run(pin, {address, bytes, copy.data}, begin);
  DSM_CHECK(outcome == Outcome::kSnapshot, "outcome {}", static_cast<int>(outcome));
  if (!again && proto::is_held(pin.borrow.word, proto::Hold::kStanding, engine.node.self)) {
    engine.cache.retire(me, copy);
    engine.objects.unpin(pin);
    return false;
  }
  pin.copy.store(&copy);
  engine.cache.insert(me, copy, address, pin.borrow.word, seen);
  engine.objects.let_pages_go(pin);
  pin.data.store(copy.data);
  count(engine.node.stats->object_miss);
  return true;
}

Holding* hold(Engine& engine, std::uint64_t address, CallSite site) {
  CallSite earlier;
  Holding* const holding = engine.cache.hold(address, site, &earlier);
  if (holding != nullptr) return holding;
  runtime::end_for_misuse("a mutable borrow of", address, site,
                          "the same thread has it borrowed already, and would wait for itself:", earlier);
}

}  // namespace

Copy* keep_copy(Engine& engine, ThreadPins& me, Pin& pin, std::uint64_t address, std::size_t bytes) {
  Copy* const copy = engine.cache.find(me, address);
  if (copy == nullptr) return nullptr;
  pin.copy.store(copy, std::memory_order_relaxed);
  pin.publish(address, bytes, PinKind::kCopy);
  if (copy->address.load(std::memory_order_acquire) == address && copy->bytes.load() == bytes) return copy;
  pin.copy.store(nullptr, std::memory_order_relaxed);
  pin.address.store(0, std::memory_order_release);
  return nullptr;
}

Pin& shared_elsewhere(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site,
                      std::uint32_t colour) {
  Pin& pin = take(me, site);
  Known known = known_by(colour);
  if (Copy* const copy = keep_copy(engine, me, pin, address, bytes)) {
    Cache::note_use(*copy);
    const Header word = copy->word.load(std::memory_order_relaxed);
    if (proto::colour_of(word) == colour || copy->standing.load(std::memory_order_relaxed)) [[likely]] {
      pin.data.store(copy->data, std::memory_order_relaxed);
      count_some(me.hits, engine.node.stats->object_hit);
      return pin;
    }
    if (colour == kNoColour && engine.objects.is_current(address, bytes, word, known) &&
        copy->address.load() == address) {
      pin.data.store(copy->data, std::memory_order_relaxed);
      count(engine.node.stats->object_revalidate);
      return pin;
    }
    if (colour != kNoColour && proto::version_of(word) >= colour) known.reset();  // it has had later versions
    pin.copy.store(nullptr);
    pin.address.store(0);
  }
  if (me.fetches != 0) {  // it may be on its way
    end_fetches(engine, me);
    return shared_elsewhere(engine, me, address, bytes, site, colour);
  }
  count_rest(engine, me);
  check_own_borrows(address, bytes, false, site);
  if (fetch(engine, me, pin, address, bytes, known, false)) return pin;
  if (engine.cache.stands(address, bytes)) return shared_elsewhere(engine, me, address, bytes, site, colour);
  if (engine.cache.stands_across(address, bytes)) {  // borrowed with another size before
    Holding* const holding = hold(engine, address, site);
    engine.cache.begin_standing(*holding, address, bytes);
    engine.cache.let_go(*holding);
  }
  fetch(engine, me, pin, address, bytes, known, true);  // nothing here is newer than the home's bytes
  return pin;
}

namespace {

// The object is this node's standing one, of which only `holding` keeps other threads off.
void begin_standing(Pin& pin, const Holding& holding) {
  pin.borrow = {.stage = proto::BorrowStage::kHeld,
                .wish = Wish::kWrite,
                .give_back = true,
                .word = holding.copy->word.load(std::memory_order_relaxed)};
  tsan_before(&pin.borrow);  // holdings.cpp, give_back()
}

// Gains the object for `work`. False: this node is its standing owner, or has been a moment ago; begin again.
bool gain(Engine& engine, ThreadPins& me, Pin& pin, Holding& holding, const Copy* current, Copy& work) {
  const std::uint64_t address = pin.address.load(), bytes = pin.bytes.load();
  const Header known = current != nullptr ? current->word.load() : 0;
  const BorrowEvent begin{
      .kind = BorrowEventKind::kBorrow, .wish = Wish::kWrite, .have = current != nullptr, .copy = known};
  const Outcome outcome = engine.objects.run(pin, {address, bytes, work.data}, begin);
  const bool as_known =
      current != nullptr && !pin.borrow.lost && proto::version_of(known) == proto::version_of(pin.borrow.word);
  if (as_known) std::memcpy(work.data, current->data, bytes);
  work.changes = as_known ? current->changes : 0;
  count(engine.node.stats->object_write);
  if (outcome == Outcome::kLocked) return true;
  Copy& kept = engine.cache.make(me, bytes);
  std::memcpy(kept.data, work.data, bytes);
  if (!engine.cache.adopt(holding, address, kept, pin.borrow.word, false)) return false;
  begin_standing(pin, holding);
  return true;
}

// The object's pages and its holding, and neither while it waits for the other: who has the holding never waits for
// pages, so a thread with other pages may wait for him (objects.h, 3), and who waits for him holds no pages up.
// `current`: the copy that is here.
Holding* hold_with_pages(Engine& engine, ThreadPins& me, Pin& pin, std::uint64_t address, std::size_t bytes,
                         const Copy*& current) {
  for (;;) {
    current = keep_copy(engine, me, pin, address, bytes);
    engine.objects.pin(pin, address, bytes, PinKind::kWrite);
    if (Holding* const holding = engine.cache.try_hold(address, bytes, pin.site)) return holding;
    engine.objects.unpin(pin);
    Holding* const holding = hold(engine, address, pin.site);
    current = keep_copy(engine, me, pin, address, bytes);
    if (engine.objects.try_pin(pin, address, bytes, PinKind::kWrite)) return holding;
    engine.cache.let_go(*holding);
  }
}

}  // namespace

// One thread of the node at a time: the header keeps nodes apart, the holding the threads of one.
Pin& mut_elsewhere(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site) {
  end_fetches(engine, me);
  check_own_borrows(address, bytes, true, site);
  Pin& pin = take(me, site);
  const Copy* current = nullptr;
  Holding* const holding = hold_with_pages(engine, me, pin, address, bytes, current);
  // It may have gone before the pages and the object were held.
  if (current != nullptr && current->address.load() != address) current = nullptr;
  Copy& work = engine.cache.make(me, bytes);
  if (holding->working || (holding->standing.load() && engine.cache.begin_standing(*holding, address, bytes))) {
    std::memcpy(work.data, holding->copy->data, bytes);
    begin_standing(pin, *holding);
    count(engine.node.stats->object_kept);
  } else if (!gain(engine, me, pin, *holding, current, work)) {
    engine.cache.retire(me, work);
    engine.objects.unpin(pin);
    engine.cache.let_go(*holding);
    return mut_elsewhere(engine, me, address, bytes, site);
  }
  pin.data.store(work.data);
  pin.note = reinterpret_cast<std::uint64_t>(holding);
  pin.copy.store(&work);
  return pin;
}

namespace {

// A borrow that goes home. The object may stay here from now on although nobody said so: this node has made its last
// changes. Not one whose header is at home here, although its bytes are not; nor one with a colour, which its owner
// knows only if the header tells it; nor one that somebody waits for, nor one whose colours would begin anew when it
// goes home, where nobody could have the other nodes forget it.
void release(Engine& engine, ThreadPins& me, Pin& pin, Holding& holding, bool changed, NodeId to) {
  Copy& work = *copy_of(pin);
  const std::uint64_t address = pin.address.load(), bytes = pin.bytes.load();
  engine.objects.take_back(pin);
  if (changed && work.changes != UINT16_MAX) ++work.changes;
  const bool by_habit = changed && to == kNoNode && engine.cache.should_stand(bytes, work.changes) &&
                        proto::may_stand(address, bytes) && engine.objects.home_of(address) != engine.node.self &&
                        !proto::is_coloured(pin.borrow.word) && !proto::is_asked(pin.borrow.word) &&
                        !proto::colour_wraps(proto::version_of(pin.borrow.word) + 2);
  const NodeId keeper = by_habit ? engine.node.self : to;
  const std::uint64_t seen = engine.cache.forgotten();
  const BorrowEvent event{.kind = BorrowEventKind::kRelease, .changed = changed, .to = keeper};
  engine.objects.run(pin, {address, bytes, work.data}, event);
  if (changed) count(engine.node.stats->object_write_back);
  if (keeper == engine.node.self) {
    engine.cache.adopt(holding, address, work, pin.borrow.word, by_habit);
  } else {
    engine.cache.insert(me, work, address, proto::at_rest(pin.borrow.word), seen);
  }
}

}  // namespace

Header end_elsewhere(Engine& engine, Pin& pin, bool changed, NodeId to) {
  ThreadPins& me = runtime::my_pins();
  auto* const holding = reinterpret_cast<Holding*>(pin.note);
  Copy& work = *copy_of(pin);
  const bool standing = pin.borrow.give_back;
  if (standing) {
    engine.cache.end_standing(*holding, changed ? &work : nullptr);
    if (!changed) engine.cache.retire(me, work);
  } else {
    release(engine, me, pin, *holding, changed, to);
  }
  const Header word = pin.borrow.word;
  give_pin_back(engine, pin);
  if (!standing) engine.cache.let_go(*holding);
  return word;
}

}  // namespace dsm::hints
