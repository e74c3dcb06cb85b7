// What the parts of a borrow share: at the object's home (borrow_here.cpp), of other nodes' objects one by one
// (borrow_elsewhere.cpp), many at once (borrow_many.cpp) and ahead of need (fetch.cpp).
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

// A shared borrow's chain {header, bytes, header}, of the bytes only if there is no copy: begun, for finish_all() ...
inline constexpr std::size_t kReadOps = 3;
inline constexpr std::size_t kMostInChain = 64;  // objects
inline runtime::ObjectStep begin_read(Engine& engine, proto::Borrow& borrow, const ObjectAt& object, const Copy* have,
                                      BorrowEvent& event) {
  const BorrowEvent begin{.kind = BorrowEventKind::kBorrow,
                          .wish = Wish::kRead,
                          .have = have != nullptr,
                          .copy = have != nullptr ? have->word.load(std::memory_order_relaxed) : Header{}};
  const auto todo = step(borrow, engine.objects.place(object.address, object.bytes), begin);
  event = {BorrowEventKind::kDone};
  return {todo, object, &event};
}
// ... and what it has come to.
inline Outcome end_read(Engine& engine, proto::Borrow& borrow, std::uint64_t address, std::uint64_t bytes,
                        const BorrowEvent& event) {
  return step(borrow, engine.objects.place(address, bytes), event).outcome;
}

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

inline Pin& take(ThreadPins& me, CallSite site) {
  if (me.hint == nullptr) [[unlikely]]
    end_for_borrow_in_call(site);
  Pin& pin = me.take();
  pin.begin(site);
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

// A copy of the cache that will do, kept alive by the pin; nullptr if there is none.
Copy* keep_copy(Engine& engine, ThreadPins& me, Pin& pin, std::uint64_t address, std::size_t bytes);

Pin& shared_here(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site);
Pin& mut_here(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site);
Header end_here(Engine& engine, Pin& pin, bool changed, NodeId to);

Pin& shared_elsewhere(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site,
                      std::uint32_t colour);
Pin& mut_elsewhere(Engine& engine, ThreadPins& me, std::uint64_t address, std::size_t bytes, CallSite site);
Header end_elsewhere(Engine& engine, Pin& pin, bool changed, NodeId to);

}  // namespace dsm::hints
