// Borrows of objects that are homed at this node.
#include "base/check.h"
#include "hints/quick.h"
#include "hints/sides.h"

namespace dsm::hints {
namespace {

// How often the quick way is tried before the slow one, which can wait.
constexpr int kQuickTries = 4;

bool copy_quickly(const Engine& engine, std::uint64_t address, std::size_t bytes, std::byte* to) {
  if (engine.slice_headers == nullptr) return false;
  const std::uint64_t offset = address - engine.slice_begin;
  for (int tries = 0; tries < kQuickTries; ++tries) {
    const PageLook first(engine, offset), last(engine, offset + bytes - 1);
    if (!first.open() || !last.open()) return false;
    if (copy_whole(engine, offset, bytes, to) && first.unchanged() && last.unchanged()) return true;
  }
  return false;
}

void hold_pages(Engine& engine, Pin& pin, std::uint64_t address, std::size_t bytes, PinKind kind) {
  if (engine.alone) {
    pin.publish(address, bytes, kind);
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

}  // namespace

Pin& shared_here(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site) {
  Pin& pin = take(me, site);
  count_some(me.locals, engine.node.stats->object_local);
  const bool fits = bytes <= runtime::kScratchBytes;
  if (fits && copy_quickly(engine, address, bytes, pin.scratch)) [[likely]] {
    pin.data.store(pin.scratch, std::memory_order_relaxed);
    pin.publish(address, bytes, PinKind::kCopy);
    return pin;
  }
  check_own_borrows(address, bytes, false, site);
  const bool small = engine.objects.place(address, bytes).small;
  hold_pages(engine, pin, address, bytes, small ? PinKind::kFetch : PinKind::kRead);
  const BorrowEvent begin{.kind = BorrowEventKind::kBorrow, .wish = Wish::kRead};
  const Outcome outcome = engine.objects.run(pin, {address, bytes, pin.scratch}, begin);
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
  const Outcome outcome = engine.objects.run(pin, {address, bytes, nullptr}, begin);
  DSM_CHECK(outcome == Outcome::kLocked, "outcome {}", static_cast<int>(outcome));
  return pin;
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
    engine.objects.run(pin, {address, pin.bytes.load(), nullptr}, release);
  }
  const Header word = pin.borrow.word;
  give_pin_back(engine, pin);
  return word;
}

}  // namespace dsm::hints
