#include "hints/borrow.h"

#include <cstring>

#include "base/check.h"
#include "base/signals.h"
#include "hints/checks.h"
#include "runtime/misuse.h"

namespace dsm::hints {
namespace {

using proto::BorrowEvent;
using proto::BorrowEventKind;
using proto::Header;
using proto::Outcome;
using proto::Wish;
using runtime::ObjectAt;
using runtime::PinKind;
using runtime::ThreadPins;

// How often the quick way is tried before the slow one, which can wait.
constexpr int kQuickTries = 4;
// Borrows that a thread counts itself before it adds them to the node's counters.
constexpr std::uint32_t kCountEvery = 256;

void fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

void count_some(std::uint32_t& mine, std::atomic<std::uint64_t>& counter) {
  if (++mine < kCountEvery) return;
  count(counter, mine);
  mine = 0;
}

void count_rest(Engine& engine, ThreadPins& me) {
  if (me.hits != 0) count(engine.node.stats->object_hit, me.hits);
  if (me.locals != 0) count(engine.node.stats->object_local, me.locals);
  me.hits = me.locals = 0;
}

void publish(Pin& pin, std::uint64_t address, std::uint64_t bytes, PinKind kind) {
  pin.kind.store(kind, std::memory_order_relaxed);
  pin.bytes.store(bytes, std::memory_order_relaxed);
  pin.address.store(address, std::memory_order_release);
  fence();
}

Pin& take(ThreadPins& me, CallSite site) {
  Pin& pin = me.take();
  pin.site = site;
  pin.note = 0;
  pin.borrow.stage = proto::BorrowStage::kIdle;
  return pin;
}

Copy* copy_of(const Pin& pin) { return const_cast<Copy*>(static_cast<const Copy*>(pin.copy.load())); }

// --- at the home ----------------------------------------------------------------------------------------------------

// A call of memcpy costs more than most objects.
inline void copy_small(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (bytes == 64) return static_cast<void>(std::memcpy(to, from, 64));
  if (bytes == 8) return static_cast<void>(std::memcpy(to, from, 8));
  std::memcpy(to, from, bytes);
}

// Copies a small object in between two looks at its header and at its pages. False: somebody is changing it, or a page
// is not in object mode.
bool copy_quickly(const Engine& engine, std::uint64_t address, std::size_t bytes, std::byte* to) {
  const std::atomic<Header>* const header = engine.header(address);
  if (header == nullptr) return false;
  const std::byte* const from = engine.in_place(address);
  const std::uint64_t last = address + bytes - 1;
  const bool one_page = engine.alone || (address ^ last) < kPageBytes;
  for (int tries = 0; tries < kQuickTries; ++tries) {
    const std::uint64_t page = engine.alone ? 1 : engine.page_word(address);
    const std::uint64_t last_page = one_page ? page : engine.page_word(last);
    if (!runtime::Objects::is_open(page) || !runtime::Objects::is_open(last_page)) return false;
    const Header before = header->load(std::memory_order_acquire);
    if (proto::is_writing(before) || proto::hold_of(before) == proto::Hold::kStanding) return false;
    copy_small(to, from, bytes);
    std::atomic_thread_fence(std::memory_order_acquire);
    const Header after = header->load(std::memory_order_acquire);
    if (proto::version_of(before) != proto::version_of(after) || proto::is_writing(after)) continue;
    if (engine.alone || (page == engine.page_word(address) && last_page == engine.page_word(last))) {
      return true;
    }
  }
  return false;
}

void hold_pages(Engine& engine, Pin& pin, std::uint64_t address, std::size_t bytes, PinKind kind) {
  if (engine.alone) {
    publish(pin, address, bytes, kind);
  } else {
    engine.objects.pin(pin, address, bytes, kind);
  }
}

void let_pages_go(Engine& engine, Pin& pin) {
  if (engine.alone) {
    pin.kind.store(PinKind::kCopy);
  } else {
    engine.objects.let_pages_go(pin);
  }
}

void give_pin_back(Engine& engine, Pin& pin) {
  if (engine.alone) {
    pin.copy.store(nullptr, std::memory_order_relaxed);
    pin.address.store(0, std::memory_order_release);
  } else {
    engine.objects.unpin(pin);
  }
}

Pin& shared_here(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site) {
  Pin& pin = take(me, site);
  count_some(me.locals, engine.node.stats->object_local);
  const bool fits = bytes <= runtime::kScratchBytes;
  if (fits && copy_quickly(engine, address, bytes, pin.scratch)) [[likely]] {
    pin.data.store(pin.scratch, std::memory_order_relaxed);
    publish(pin, address, bytes, PinKind::kCopy);
    return pin;
  }
  check_own_borrows(address, bytes, false, site);
  const bool small = engine.objects.place(address, bytes).small;
  hold_pages(engine, pin, address, bytes, small ? PinKind::kFetch : PinKind::kRead);
  const BorrowEvent begin{.kind = BorrowEventKind::kBorrow, .wish = Wish::kRead};
  const Outcome outcome = engine.objects.run(pin.borrow, {address, bytes, pin.scratch}, begin, site);
  DSM_CHECK(outcome == (small ? Outcome::kSnapshot : Outcome::kMarked), "outcome {}", static_cast<int>(outcome));
  pin.data.store(small ? pin.scratch : engine.in_place(address), std::memory_order_release);
  if (small) let_pages_go(engine, pin);
  return pin;
}

Pin& mut_here(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site) {
  Pin& pin = take(me, site);
  count_some(me.locals, engine.node.stats->object_local);
  hold_pages(engine, pin, address, bytes, PinKind::kWrite);
  pin.data.store(engine.in_place(address), std::memory_order_relaxed);
  const proto::Turn turn{engine.node.self, Wish::kWrite, !engine.alone && bytes <= runtime::kScratchBytes, true};
  if (std::atomic<Header>* const header = engine.header(address)) {
    Header word = header->load(std::memory_order_relaxed);
    while (!proto::is_asked(word) && proto::grantable(word, turn)) {
      const Header granted = proto::granted_word(word, turn);
      if (!header->compare_exchange_weak(word, granted, std::memory_order_acquire)) continue;
      pin.borrow = {.stage = proto::BorrowStage::kHeld, .wish = Wish::kWrite, .word = granted};
      return pin;
    }
  }
  check_own_borrows(address, bytes, true, site);
  const BorrowEvent begin{.kind = BorrowEventKind::kBorrow, .wish = Wish::kWrite};
  const Outcome outcome = engine.objects.run(pin.borrow, {address, bytes, nullptr}, begin, site);
  DSM_CHECK(outcome == Outcome::kLocked, "outcome {}", static_cast<int>(outcome));
  return pin;
}

// --- elsewhere ------------------------------------------------------------------------------------------------------

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

Holding* hold(Engine& engine, std::uint64_t address, CallSite site) {
  CallSite earlier;
  Holding* const holding = engine.cache.hold(address, site, &earlier);
  if (holding != nullptr) return holding;
  runtime::end_for_misuse("a mutable borrow of", address, site,
                          "the same thread has it borrowed already, and would wait for itself:", earlier);
}

bool stands_here(Engine& engine, ThreadPins& me, std::uint64_t address) {
  const Copy* const copy = engine.cache.find(me, address);
  return copy != nullptr && copy->standing.load(std::memory_order_relaxed);
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

Header end_here(Engine& engine, Pin& pin, bool changed, NodeId to) {
  const std::uint64_t address = pin.address.load(std::memory_order_relaxed);
  std::atomic<Header>* const header = engine.header(address);
  if (pin.borrow.wish == Wish::kWrite && header != nullptr && to == kNoNode) [[likely]] {
    const std::uint64_t add =
        (changed ? proto::kOneVersion : 0) - proto::held_by(proto::Hold::kLocked, engine.node.self) - proto::kWriting;
    const Header old = header->fetch_add(add, std::memory_order_release);
    pin.borrow.word = old + add;
    if (proto::is_asked(old)) engine.objects.tell_freed(address);
  } else {
    const BorrowEvent release{.kind = BorrowEventKind::kRelease, .changed = changed, .to = to};
    engine.objects.run(pin.borrow, {address, pin.bytes.load(), nullptr}, release, pin.site);
  }
  const Header word = pin.borrow.word;
  give_pin_back(engine, pin);
  return word;
}

bool is_here(const Engine& engine, std::uint64_t address, std::size_t bytes) {
  if (address - engine.slice_begin < engine.slice_bytes) [[likely]]
    return true;
  if (address - engine.node.geometry.base < engine.node.geometry.slice_bytes * engine.node.geometry.nodes) return false;
  const proto::ObjectPlace place = engine.objects.place(address, bytes);
  return place.home == engine.node.self && !place.scattered;
}

}  // namespace

Pin& borrow_shared(const void* object, std::size_t bytes, CallSite site, std::uint32_t colour) {
  Engine& here = engine();
  const auto address = reinterpret_cast<std::uint64_t>(object);
  check_object(here, address, bytes, site);
  if (here.check) check_overlaps(address, bytes, site);
  ThreadPins& me = runtime::my_pins();
  if (is_here(here, address, bytes)) return shared_here(here, me, address, bytes, site);
  return shared_elsewhere(here, me, address, bytes, site, colour);
}

Pin& borrow_mut(void* object, std::size_t bytes, CallSite site) {
  Engine& here = engine();
  const auto address = reinterpret_cast<std::uint64_t>(object);
  check_object(here, address, bytes, site);
  if (here.check) check_overlaps(address, bytes, site);
  ThreadPins& me = runtime::my_pins();
  if (is_here(here, address, bytes)) return mut_here(here, me, address, bytes, site);
  return mut_elsewhere(here, me, address, bytes, site, stands_here(here, me, address));
}

Header end_borrow(Pin& pin, bool changed, NodeId to) {
  if (pin.kind.load(std::memory_order_relaxed) == PinKind::kCopy) {
    pin.copy.store(nullptr, std::memory_order_relaxed);
    pin.address.store(0, std::memory_order_release);
    return 0;
  }
  Engine& here = engine();
  const bool elsewhere = pin.copy.load(std::memory_order_relaxed) != nullptr;
  return elsewhere ? end_elsewhere(here, pin, changed, to) : end_here(here, pin, changed, to);
}

// The owner of a coloured object cannot be told its new colour, so no copy of the old one may stay anywhere.
void end_hinted(Pin& pin, bool changed) {
  const std::uint64_t address = pin.address.load(std::memory_order_relaxed);
  const Header word = end_borrow(pin, changed);
  if (changed && proto::is_coloured(word)) [[unlikely]]
    engine().objects.forget_everywhere(address);
}

// A standing object that goes to another node is given back first. It may be standing again by the time it is borrowed.
void transfer(void* object, std::size_t bytes, unsigned node, CallSite site) {
  Engine& here = engine();
  const auto address = reinterpret_cast<std::uint64_t>(object);
  check_object(here, address, bytes, site);
  if (node >= here.node.geometry.nodes) {
    runtime::end_for_misuse("a transfer to a node that does not exist, of", address, site, "", {});
  }
  ThreadPins& me = runtime::my_pins();
  const NodeId home = here.node.geometry.home(here.node.geometry.page_of(address));
  const auto to = static_cast<NodeId>(node);
  if (is_here(here, address, bytes)) {
    end_borrow(mut_here(here, me, address, bytes, site), false, to == home ? kNoNode : to);
    return;
  }
  for (bool standing = true; standing;) {
    if (to != here.node.self && stands_here(here, me, address)) here.cache.recalled(address);
    Pin& pin = mut_elsewhere(here, me, address, bytes, site, true);
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
