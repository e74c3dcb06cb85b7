#include "placed/taken.h"

#include "base/meta_layout.h"
#include "base/signals.h"
#include "runtime/lost.h"
#include "runtime/pages.h"
#include "runtime/service.h"

namespace dsm::placed {
namespace {

using proto::Header;

void fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

}  // namespace

Taken::Taken(hints::Engine& engine)
    : engine_(engine),
      base_(engine.node.geometry.base),
      slice_(engine.node.geometry.address_of(engine.node.geometry.slice_first(engine.node.self))),
      slice_bytes_(engine.node.geometry.slice_bytes),
      pages_(engine.objects.slice_pages()),
      memory_(engine.in_place(base_)),
      headers_(engine.node.meta_view + header_offset(engine.node.geometry, base_)),
      on_cpu_(engine.node.transport->cpu_atomics_agree()) {
  runtime::ThreadPins& me = runtime::my_pins();
  for (runtime::PinBlock* block = me.first.load(); block != nullptr; block = block->next.load()) {
    for (hints::Pin& pin : block->pins) {
      if (most_ < kMost && pin.address.load(std::memory_order_relaxed) == 0) pins_[most_++] = &pin;
    }
  }
  if (most_ == 0) pins_[most_++] = &me.take();
}

std::atomic<Header>& Taken::header(std::uint64_t address) const {
  return reinterpret_cast<std::atomic<Header>*>(headers_)[(address - base_) / kObjectGranule];
}

void Taken::prefetch(std::uint64_t address) const {
  __builtin_prefetch(memory_ + (address - base_), 1);
  __builtin_prefetch(&header(address), 1);
}

bool Taken::pages_open(std::uint64_t address, std::size_t bytes) const {
  for (std::uint64_t at = address; at < address + bytes; at = (at | (kPageBytes - 1)) + 1) {
    if (!runtime::Objects::is_open(pages_[(at - slice_) / kPageBytes].load(std::memory_order_acquire))) return false;
  }
  return true;
}

// Looks before it publishes, too: a pin that comes and goes would make the page protocol look again each time.
bool Taken::hold_pages(hints::Pin& pin, std::uint64_t address, std::size_t bytes) const {
  if (!engine_.alone && !pages_open(address, bytes)) return false;
  pin.kind.store(runtime::PinKind::kWrite, std::memory_order_relaxed);
  pin.bytes.store(bytes, std::memory_order_relaxed);
  pin.address.store(address, std::memory_order_release);
  fence();
  if (engine_.alone) return true;
  if (pin.owner->raw_page.load(std::memory_order_relaxed) != 0) pin.owner->raw_page.store(0);
  if (pages_open(address, bytes)) return true;
  engine_.objects.unpin(pin);
  return false;
}

// A header that other nodes change by a device's atomics is changed by these here, too, unless they are the
// processor's.
std::uint64_t Taken::execute(net::Op op) const {
  const SignalsBlocked blocked;
  runtime::execute_or_end(engine_.node, engine_.node.self, {&op, 1});
  return op.old;
}

// As compare_exchange_weak().
bool Taken::swap(std::uint64_t address, Header& seen, Header desired) const {
  if (on_cpu_) return header(address).compare_exchange_weak(seen, desired, std::memory_order_acquire);
  const Header expected = seen;
  const std::uint64_t offset = header_offset(engine_.node.geometry, address);
  seen = execute(net::cas_op(net::Region::kMeta, offset, expected, desired));
  return seen == expected;
}

Header Taken::add(std::uint64_t address, Header addend) const {
  if (on_cpu_) return header(address).fetch_add(addend, std::memory_order_release);
  return execute(net::fetch_add_op(net::Region::kMeta, header_offset(engine_.node.geometry, address), addend));
}

// Who finds the header taken does not wait.
bool Taken::lock(std::uint64_t address, std::size_t bytes) const {
  Header seen = header(address).load(std::memory_order_relaxed);
  if (seen == proto::at_rest(seen)) [[likely]] {
    const Header locked = seen | proto::held_by(proto::Hold::kLocked, engine_.node.self) | proto::kWriting;
    if (swap(address, seen, locked)) return true;
  }
  const proto::Turn turn{engine_.node.self, proto::Wish::kWrite, engine_.objects.place(address, bytes).small, true};
  while (!proto::is_asked(seen) && proto::grantable(seen, turn)) {
    if (swap(address, seen, proto::granted_word(seen, turn))) return true;
  }
  return false;
}

bool Taken::take(std::uint64_t address, std::size_t bytes) {
  const bool in_slice = address - slice_ < slice_bytes_ && bytes <= slice_bytes_ - (address - slice_);
  if (count_ == kMost || !in_slice) return false;
  if (held_ != 0 && pins_[held_ - 1]->address.load(std::memory_order_relaxed) == address &&
      pins_[held_ - 1]->bytes.load(std::memory_order_relaxed) == bytes) {
    objects_[count_++] = memory_ + (address - base_);
    return true;
  }
  if (held_ == most_) return false;
  hints::Pin& pin = *pins_[held_];
  pin.borrow.stage = proto::BorrowStage::kIdle;
  pin.site = {};
  if (!hold_pages(pin, address, bytes)) [[unlikely]]
    return false;
  if (!lock(address, bytes)) {
    if (engine_.alone) {
      pin.address.store(0, std::memory_order_release);
    } else {
      engine_.objects.unpin(pin);
    }
    return false;
  }
  pin.borrow.stage = proto::BorrowStage::kHeld;
  ++held_;
  objects_[count_++] = memory_ + (address - base_);
  return true;
}

void Taken::let_go() {
  constexpr Header kChanged = proto::kOneVersion - proto::kWriting;
  const Header release = kChanged - proto::held_by(proto::Hold::kLocked, engine_.node.self);
  std::array<std::uint64_t, kMost> coloured;
  std::size_t colours = 0;
  for (std::size_t i = 0; i < held_; ++i) {
    hints::Pin& pin = *pins_[i];
    const std::uint64_t address = pin.address.load(std::memory_order_relaxed);
    const Header old = add(address, release);
    if (proto::is_coloured(old) || proto::colour_wraps(proto::version_of(old + release))) [[unlikely]]
      coloured[colours++] = granule_of(address);
    if (proto::is_asked(old)) [[unlikely]]
      engine_.objects.tell_freed(address);
    if (engine_.alone) {
      pin.address.store(0, std::memory_order_release);
    } else {
      engine_.objects.unpin(pin);
    }
  }
  count_ = held_ = 0;
  for (std::size_t i = 0; i < colours; ++i) engine_.objects.forget_everywhere(coloured[i]);
}

}  // namespace dsm::placed
