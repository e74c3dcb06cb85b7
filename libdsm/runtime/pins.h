// What the threads of this node are borrowing right now. A thread publishes each borrow in a pin of its own, with plain
// stores; who takes something away from under borrows (a page's object mode, a cached copy) changes its own word first,
// calls membarrier, and then looks through all pins. So a borrow takes no lock and no atomic read-modify-write:
//
//   borrow:  store pin; compiler barrier; load the word    |    revoke:  store word; membarrier; load all pins
//
// 1. At least one of the two sees the other's store.
// 2. A pin's `address` is stored last when it is taken, and set to zero first when it is given back. Any thread may
//    give a pin back; only its owner takes one.
// 3. Records of threads and their pins are never unmapped; a thread's record is used again after its end.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/futex.h"
#include "base/result.h"
#include "proto/object.h"

namespace dsm::runtime {

// Where in the program something was borrowed. The text lives as long as the program. 16 bytes: it goes in registers.
struct CallSite {
  const char* file = nullptr;
  std::uint32_t line = 0;
  std::uint32_t callers = 0;  // DSM_CHECK=1: who called there (misuse.h); 0: not noted
};

enum class PinKind : std::uint8_t {
  kCopy,   // reads a copy: of the cache, or its own. Holds no page
  kFetch,  // is fetching: holds the pages in object mode
  kRead,   // reads in place at the home, with a mark in the header: holds the pages
  kWrite,  // has the mutable borrow: holds the pages
};

struct ThreadPins;

// Loads come after the stores before, for the compiler; revokers see to the processor.
inline void pin_fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

struct alignas(64) Pin {
  std::atomic<std::uint64_t> address{0};  // of the object; 0: the pin is free
  std::atomic<std::uint64_t> bytes{0};
  std::atomic<const void*> copy{nullptr};  // the cached copy it keeps alive
  std::atomic<PinKind> kind{PinKind::kCopy};
  std::atomic<void*> data{nullptr};  // what the borrow gave the program
  CallSite site;
  ThreadPins* owner = nullptr;
  std::byte* scratch = nullptr;  // kScratchBytes of this pin alone
  proto::Borrow borrow;
  std::uint64_t note = 0;  // for the layer above, as the next
  std::uint64_t* owner_bits = nullptr;

  bool overlaps(std::uint64_t begin, std::uint64_t length) const {
    const std::uint64_t at = address.load();
    return at != 0 && at < begin + length && begin < at + bytes.load();
  }
  bool holds_pages() const { return kind.load() != PinKind::kCopy; }
  // By its owner, of a free pin.
  void begin(CallSite where) {
    site = where;
    note = 0;
    borrow.stage = proto::BorrowStage::kIdle;
  }
  // By its owner. Loads that follow see what a revoker has stored before it looked through the pins (1).
  void publish(std::uint64_t of, std::uint64_t length, PinKind as) {
    kind.store(as, std::memory_order_relaxed);
    bytes.store(length, std::memory_order_relaxed);
    address.store(of, std::memory_order_release);
    pin_fence();
  }
};
inline constexpr std::size_t kScratchBytes = 1024;  // as much as a small object has

struct PinBlock {
  static constexpr std::size_t kPins = 32;
  Pin pins[kPins];
  std::atomic<PinBlock*> next{nullptr};
};

enum class WaitKind : std::uint8_t {
  kNone,
  kObject,      // for an object
  kPlain,       // for plain access to a page
  kObjectPage,  // for a page, for object work
};

// What a thread waits for; waits.h begins and ends it.
struct ThreadWait {
  static constexpr std::size_t kFrames = 12;

  std::atomic<std::uint64_t> state{0};    // number of the wait << 8 | WaitKind
  std::atomic<std::uint64_t> address{0};  // of the object, or where in the page; as the next, valid while it waits
  std::atomic<std::int64_t> since_ns{0};
  std::atomic<const char*> file{nullptr};  // where in the program, if that is known
  std::atomic<std::uint32_t> line{0}, callers{0};
  std::atomic<std::uint64_t> traced{0};  // `state` of the wait that `frames` are of
  std::array<std::atomic<std::uint64_t>, kFrames> frames{};

  CallSite site() const { return {file.load(), line.load(), callers.load()}; }
  static constexpr WaitKind kind_of(std::uint64_t state) { return static_cast<WaitKind>(state & 0xff); }
};

// One thread's record.
struct ThreadPins {
  std::atomic<pid_t> tid{0};  // 0: nobody's
  ThreadPins* next = nullptr;
  std::atomic<PinBlock*> first{nullptr};
  Pin* hint = nullptr;                     // probably free; none while the thread must not borrow
  PinBlock* hint_block = nullptr;          // the block it is in
  std::atomic<std::uint64_t> raw_page{0};  // number + 1 of a page that it touches raw although it has borrowed of it,
                                           // or has touched so, as long as that is not here for object work again
  std::uint32_t hits = 0, locals = 0;      // borrows not yet counted in the node's counters
  std::atomic<void*> upper{nullptr};       // what the layer above keeps for the thread; made by it, and never unmapped
  void* flight = nullptr;                  // likewise: its fetches that are on their way ...
  std::size_t fetches = 0;                 // ... and how many they are
  ThreadWait wait;
  std::atomic<std::uint64_t> granted{0};  // an object that it has been granted, and waits for the pages of

  Pin& take();
  bool holds_any() const;
  bool holds_others_up() const;  // a published pin holds pages, or it has been granted an object
  template <typename See>
  void for_each(See see) const {
    for (const PinBlock* block = first.load(); block != nullptr; block = block->next.load()) {
      for (const Pin& pin : block->pins) {
        if (pin.address.load() != 0) see(pin);
      }
    }
  }

 private:
  Pin& take_slow();
};

namespace detail {
// Read in faults: reached without __tls_get_addr, which may allocate.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local ThreadPins* mine;
ThreadPins& claim_pins();
}  // namespace detail

// This thread's record. Not for signal context.
inline ThreadPins& my_pins() {
  ThreadPins* const made = detail::mine;
  return made != nullptr ? *made : detail::claim_pins();
}
// Called at the end of a thread that has a record, before that goes to another thread.
using ThreadEndHook = void (*)(ThreadPins&);
void on_thread_end(ThreadEndHook hook);

namespace detail {
extern std::atomic<ThreadPins*> all_threads;
}

// Once in a process, before pins_barrier().
Result<void> register_pins_barrier();
// Sees every pin in use that was published before; call barrier() first.
void pins_barrier();
template <typename See>
void for_each_thread(See see) {
  for (ThreadPins* t = detail::all_threads.load(); t != nullptr; t = t->next) see(*t);
}
template <typename See>
void for_each_pin(See see) {
  for_each_thread([&](const ThreadPins& thread) { thread.for_each(see); });
}

inline Pin& ThreadPins::take() {
  Pin* pin = hint;
  if (pin != nullptr && pin->address.load(std::memory_order_relaxed) == 0) [[likely]]
    return *pin;
  return take_slow();
}

}  // namespace dsm::runtime
