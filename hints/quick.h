// The way that nearly all shared borrows of this node's own small objects take: two looks at the header and at the
// pages' words around a copy into the pin's buffer. It takes no lock, changes no word but the pin's, waits for nothing
// and calls nothing, so it saves no registers. What it cannot do it leaves undone, and says so; what costs more than a
// few instructions to find out it cannot do.
#pragma once

#include <atomic>
#include <cstring>

#include "base/tsan.h"
#include "hints/borrow.h"
#include "hints/sides.h"

namespace dsm::hints {

// A call of memcpy costs more than most objects. The last block may overlap the one before.
[[gnu::always_inline]] inline void copy_inline(std::byte* to, const std::byte* from, std::size_t bytes) {
  if constexpr (kThreadSanitizer) return copy_racing(to, from, bytes);
  constexpr std::size_t kBlock = 64;
  const auto both_ends = [&]<std::size_t kBytes>(std::integral_constant<std::size_t, kBytes>) {
    std::byte first[kBytes], last[kBytes];
    std::memcpy(first, from, kBytes);
    std::memcpy(last, from + bytes - kBytes, kBytes);
    std::memcpy(to, first, kBytes);
    std::memcpy(to + bytes - kBytes, last, kBytes);
  };
  if (bytes >= kBlock) {
    const std::size_t rest = bytes % kBlock;
    for (std::size_t at = 0; at + kBlock <= bytes; at += kBlock) std::memcpy(to + at, from + at, kBlock);
    if (rest != 0) std::memcpy(to + bytes - kBlock, from + bytes - kBlock, kBlock);
  } else if (bytes >= 32) {
    both_ends(std::integral_constant<std::size_t, 32>{});
  } else if (bytes >= 16) {
    both_ends(std::integral_constant<std::size_t, 16>{});
  } else if (bytes >= 8) {
    both_ends(std::integral_constant<std::size_t, 8>{});
  } else if (bytes >= 4) {
    both_ends(std::integral_constant<std::size_t, 4>{});
  } else {
    to[0] = from[0];
    if (bytes >= 2) both_ends(std::integral_constant<std::size_t, 2>{});
  }
}

// A page's word, looked at before and after: open, and the same: open all along.
class PageLook {
 public:
  [[gnu::always_inline]] PageLook(const Engine& engine, std::uint64_t offset)
      : word_(engine.slice_pages[offset >> engine.page_shift]), before_(word_.load(std::memory_order_acquire)) {}
  bool open() const { return runtime::Objects::is_open(before_); }
  std::uint64_t seen() const { return before_; }
  bool unchanged() const { return word_.load(std::memory_order_acquire) == before_; }

 private:
  const std::atomic<std::uint64_t>& word_;
  const std::uint64_t before_;
};

inline const std::atomic<Header>& header_at(const Engine& engine, std::uint64_t offset) {
  return engine.slice_headers[offset / kObjectGranule];
}

// Copies a small object of this node's slice, at `offset` there. False: somebody is changing it.
[[gnu::always_inline]] inline bool copy_whole(const Engine& engine, std::uint64_t offset, std::size_t bytes,
                                              std::byte* to) {
  const std::atomic<Header>& header = header_at(engine, offset);
  const Header before = header.load(std::memory_order_acquire);
  if (!proto::is_readable(before)) return false;
  copy_inline(to, engine.slice_view + offset, bytes);
  std::atomic_signal_fence(std::memory_order_acquire);  // for the compiler: x86 keeps loads in order
  return proto::is_same_version(before, header.load(std::memory_order_acquire));
}

// Whether an object of so many bytes may be one of this node's that lie in one page.
[[gnu::always_inline]] inline bool may_be_quick(const Engine& engine, std::uint64_t offset, std::size_t bytes) {
  return bytes - 1 < runtime::kScratchBytes && offset < engine.quick_bytes &&
         ((offset ^ (offset + bytes - 1)) >> engine.page_shift) == 0;
}

// nullptr: begin it some other way. Always inlined, here and above: a call and the registers it saves are a third of
// what it takes.
[[gnu::always_inline]] inline Pin* borrow_shared_quickly(std::uint64_t address, std::size_t bytes, CallSite site) {
  Engine* const here = detail::the_engine.load(std::memory_order_acquire);
  ThreadPins* const me = runtime::detail::mine;
  if (here == nullptr || me == nullptr) [[unlikely]]
    return nullptr;
  const std::uint64_t offset = address - here->slice_begin;
  if (!may_be_quick(*here, offset, bytes)) return nullptr;
  Pin* const pin = me->hint;
  if (pin == nullptr || pin->address.load(std::memory_order_relaxed) != 0) return nullptr;
  const PageLook page(*here, offset);
  if (!page.open() || !copy_whole(*here, offset, bytes, pin->scratch) || !page.unchanged()) return nullptr;
  count_some(me->locals, here->node.stats->object_local);
  pin->begin(site);
  pin->data.store(pin->scratch, std::memory_order_relaxed);
  pin->publish(address, bytes, PinKind::kCopy);
  return pin;
}

// False: it is not the borrow of a copy, and has not ended.
inline bool end_quickly(Pin& pin) {
  if (pin.kind.load(std::memory_order_relaxed) != PinKind::kCopy) return false;
  pin.copy.store(nullptr, std::memory_order_relaxed);
  pin.address.store(0, std::memory_order_release);
  return true;
}

}  // namespace dsm::hints
