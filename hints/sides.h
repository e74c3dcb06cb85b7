// What the two halves of borrow.cpp share: borrows at the object's home (borrow_here.cpp) and of other nodes' objects
// (borrow_elsewhere.cpp).
#pragma once

#include <atomic>
#include <cstdint>

#include "hints/borrow.h"
#include "hints/checks.h"

namespace dsm::hints {

using proto::BorrowEvent;
using proto::BorrowEventKind;
using proto::Header;
using proto::Outcome;
using proto::Wish;
using runtime::ObjectAt;
using runtime::PinKind;
using runtime::ThreadPins;

// Borrows that a thread counts itself before it adds them to the node's counters.
inline constexpr std::uint32_t kCountEvery = 256;

// Operations that fetch an object or look at it: header, bytes, header.
inline constexpr std::size_t kReadOps = 3;

inline void fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

inline void count_some(std::uint32_t& mine, std::atomic<std::uint64_t>& counter) {
  if (++mine < kCountEvery) return;
  count(counter, mine);
  mine = 0;
}

inline void count_rest(Engine& engine, ThreadPins& me) {
  if (me.hits != 0) count(engine.node.stats->object_hit, me.hits);
  if (me.locals != 0) count(engine.node.stats->object_local, me.locals);
  me.hits = me.locals = 0;
}

inline void publish(Pin& pin, std::uint64_t address, std::uint64_t bytes, PinKind kind) {
  pin.kind.store(kind, std::memory_order_relaxed);
  pin.bytes.store(bytes, std::memory_order_relaxed);
  pin.address.store(address, std::memory_order_release);
  fence();
}

inline Pin& take(ThreadPins& me, CallSite site) {
  Pin& pin = me.take();
  pin.site = site;
  pin.note = 0;
  pin.borrow.stage = proto::BorrowStage::kIdle;
  return pin;
}

inline Copy* copy_of(const Pin& pin) { return const_cast<Copy*>(static_cast<const Copy*>(pin.copy.load())); }

inline void give_pin_back(Engine& engine, Pin& pin) {
  if (engine.alone) {
    pin.copy.store(nullptr, std::memory_order_relaxed);
    pin.address.store(0, std::memory_order_release);
  } else {
    engine.objects.unpin(pin);
  }
}

Pin& shared_here(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site);
Pin& mut_here(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site);
Header end_here(Engine& engine, Pin& pin, bool changed, NodeId to);

Pin& shared_elsewhere(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site,
                      std::uint32_t colour);
Pin& mut_elsewhere(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site);
Header end_elsewhere(Engine& engine, Pin& pin, bool changed, NodeId to);

}  // namespace dsm::hints
