// Copies of other nodes' objects on this node, bounded in bytes, and the objects of other nodes that this node works
// with: being changed by a thread here, or kept here by transfer (standing).
//
// 1. A copy's bytes never change while it is in the table: who changes an object works on a new copy, which
//    replaces the old one at the end.
// 2. A copy in the table is of an object whose pages are in object mode here; leaving drops it.
// 3. Looking up takes no lock: publish the copy in a pin, then see that its address is still what was looked for. What
//    goes out of the table gets the address 0 first; its memory is used again only once no pin names it.
// 4. A Copy's record is used again for Copies only, so that a reader that is late finds a record, if a wrong one.
// 5. Everything else happens under lock_, taken with the program's signals blocked, after a page entry's lock.
//
// 6. A thread's own Recent is changed by it alone, without the lock, except that under the lock anyone may set the
//    address of a copy in it to 0. What is in it goes into the table some copies at a time: blocking signals for each
//    would cost more than fetching a small object.
//
// What to evict is chosen as S3-FIFO does: new copies pass through a small queue and stay only if they were used again
// there; so a scan does not wash out what is used often.
#pragma once

#include <array>
#include <atomic>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/futex.h"
#include "base/meta_layout.h"
#include "base/types.h"
#include "hints/slab.h"
#include "runtime/objects.h"

namespace dsm::runtime {
struct Node;
}

namespace dsm::hints {

struct Copy {
  std::atomic<std::uint64_t> address;  // 0: not in the table
  std::atomic<proto::Header> word;     // at rest: the version of the bytes
  std::atomic<std::uint64_t> bytes;
  std::byte* data;
  std::atomic<Copy*> next;         // in the table's bucket
  std::atomic<bool> standing;      // what this node has is the truth: no need to ask the home
  std::atomic<std::uint8_t> uses;  // since it came or was last considered, at the most 3
  bool in_main;
  std::uint16_t changes;              // of the object in a row that were this node's
  std::uint32_t seen_pinned;          // the last sweep that found it pinned
  Copy *page_previous, *page_next;    // copies of one page, or of objects that span pages
  Copy *queue_previous, *queue_next;  // small or main queue; doomed: only next
};

// An object of another node with which this node works. As a header is a granule's, so is this: of the small objects in
// a granule one thread works with one at a time.
struct Holding {
  std::uint64_t granule = 0;                    // its address
  Holding* next = nullptr;                      // in the bucket
  const runtime::ThreadPins* holder = nullptr;  // the thread that has the mutable borrow, or is about to; nullptr: none
  runtime::CallSite site{};                     // of its borrow
  std::uint32_t waiting = 0;                    // threads that wait for it
  std::atomic<std::uint32_t> changed{0};        // bumped when `holder` goes
  std::atomic<bool> standing{false};            // by transfer or habit: `copy`, the object, is in the table
  bool dirty = false;                           // and newer than the home's bytes
  bool working = false;                         // the holder has begun with what stands here
  bool recalled = false;                        // working: to be given back when the borrow ends
  bool by_habit = false;                        // standing: nobody has said that it shall
  std::uint32_t kept = 0;                       // by habit: changes since
  Copy* copy = nullptr;
};

// What a thread has fetched or changed lately, and records made for it beforehand.
struct Recent {
  static constexpr std::size_t kCopies = 64, kReady = 16, kClasses = 5;  // classes: 64 to 1024 bytes
  std::array<std::atomic<Copy*>, kCopies> copies{};                      // by hash
  std::array<Copy*, kCopies> retired{};
  std::size_t retired_count = 0;
  std::array<std::array<Copy*, kReady>, kClasses> ready{};
  std::array<std::size_t, kClasses> ready_count{};
};

class Cache final : public runtime::ObjectCopies {
 public:
  Cache(runtime::Node& node, std::uint64_t limit);

  // The copy of an object, if there is one; may be gone or another's by the time it is looked at (3).
  Copy* find(const runtime::ThreadPins& me, std::uint64_t address) const;
  static void note_use(Copy& copy);

  // A copy that is in nobody's hands but the caller's. Makes room if need be.
  Copy& make(runtime::ThreadPins& me, std::uint64_t bytes);
  // The copy is the object as of `word`, unless the object was forgotten since `seen`. In any case it is the cache's to
  // free once no pin names it. The object's pages are pinned.
  void insert(runtime::ThreadPins& me, Copy& copy, std::uint64_t address, proto::Header word, std::uint64_t seen);
  void end_thread(runtime::ThreadPins& me);
  // Counts what makes a copy that is being fetched worthless; ask before the fetch.
  std::uint64_t forgotten() const { return forgotten_.load(std::memory_order_acquire); }
  void retire(runtime::ThreadPins& me, Copy& copy);

  // --- objects being changed (holdings.cpp) ---
  // Waits until no other thread of this node has the mutable borrow. nullptr: this thread has it already.
  Holding* hold(std::uint64_t address, runtime::CallSite site, runtime::CallSite* earlier);
  // The same if nobody has it, and begins with what stands here; else nullptr at once. The thread has the pages.
  Holding* try_hold(std::uint64_t address, std::uint64_t bytes, runtime::CallSite site);
  // The node has been made standing owner, and `copy` is the object. False: it has been called back already.
  bool adopt(Holding& holding, std::uint64_t address, Copy& copy, proto::Header word, bool by_habit);
  // The holder, which has its pages, begins with what stands here. False: nothing does. What does and is not that very
  // object has been given back.
  bool begin_standing(Holding& holding, std::uint64_t address, std::uint64_t bytes);
  // Whether an object that this node has just changed so often in a row should stand here from now on: over a network,
  // where each change costs round trips, but a later reader's call costs more.
  bool should_stand(std::uint64_t bytes, unsigned changes) const;
  // Ends that, and the hold. `newer`: it has been changed, and the object is this from now on.
  void end_standing(Holding& holding, Copy* newer);
  // When what goes home at this moment has arrived there: whether a copy here is still the object.
  bool stands(std::uint64_t address, std::uint64_t bytes);
  // Whether what stands here has some of these bytes in it, but is not just them.
  bool stands_across(std::uint64_t address, std::uint64_t bytes);
  void let_go(Holding& holding);

  // runtime::ObjectCopies
  void leaving(PageId page) override;
  void left(PageId page) override;
  void recalled(std::uint64_t address) override;
  void forget(std::uint64_t address, bool freed) override;

  std::uint64_t bytes_used() const { return used_; }

 private:
  static constexpr std::size_t kBuckets = std::size_t{1} << 18;
  static constexpr int kStepsUnlocked = 32;  // a reader may stray into another chain, and need not find what is there
  static constexpr std::size_t kPageLists = std::size_t{1} << 16;
  static constexpr std::size_t kHoldingBuckets = 1 << 12;
  static constexpr std::size_t kGhosts = 1 << 16;
  static constexpr std::uint32_t kSweepEvery = 64;

  struct Fifo {
    Copy* oldest = nullptr;
    Copy* newest = nullptr;
    std::uint64_t bytes = 0;
    void push(Copy& copy);
    void remove(Copy& copy);
  };

  // Neighbours in a page stay neighbours, so that whoever goes through objects in order goes through the tables in
  // order.
  static std::size_t hash(std::uint64_t address) {
    return (address / kPageBytes * 0x9E3779B97F4A7C15U >> 40) + address / kObjectGranule;
  }
  std::atomic<Copy*>& bucket(std::uint64_t address) const { return buckets_[hash(address) % kBuckets]; }
  Copy*& page_list(const Copy& copy) const;
  Copy& make_locked(std::uint64_t bytes);
  Copy& new_record();
  Copy* find_in_table(std::uint64_t address, int most_steps) const;
  // Under the lock: all of the chain, since what is not found would stay, or stand twice.
  Copy* find_locked(std::uint64_t address) const { return find_in_table(address, INT_MAX); }
  void put_in_table(Copy& copy);
  void flush(Recent& recent);
  void drop_recent(std::uint64_t begin, std::uint64_t end);
  void link(Copy& copy, std::uint64_t address);
  void unlink(Copy& copy);
  void doom(Copy& copy);
  void sweep();
  void make_room();
  bool evict_one();
  Holding** find_holding(std::uint64_t address);
  Holding** find_or_make_holding(std::uint64_t address);
  void stand(Holding& holding, std::uint64_t address, Copy& copy);
  bool begin(Holding& holding, std::uint64_t address, std::uint64_t bytes);
  void end_hold(Holding& holding);
  void learn(const Holding& holding);
  void give_back(Holding& holding);
  void give_back_idle(std::uint64_t address);
  void forget_holding(Holding** at);

  runtime::Node& node_;
  const std::uint64_t limit_;
  std::atomic<Copy*>* buckets_;
  Copy** pages_;  // lists by page, hashed
  Copy* spanning_ = nullptr;
  Holding** holdings_;
  std::uint16_t* ghosts_;  // fingerprints of what was evicted from the small queue a while ago

  FutexLock lock_;
  Slab slab_;
  Fifo small_, main_;
  Copy* free_copies_ = nullptr;  // by queue_next
  Copy* doomed_ = nullptr;
  std::uint32_t doomed_count_ = 0;
  std::uint32_t sweeps_ = 0;
  std::uint64_t used_ = 0;                  // bytes of all copies, also of those that are being made or doomed
  const std::uint32_t least_changes_;       // in a row until an object stands here by habit; 0: none ever does ...
  std::atomic<std::uint32_t> changes_due_;  // ... and as many as has been learnt
  std::atomic<std::uint64_t> forgotten_{0};
};

inline Copy* Cache::find_in_table(std::uint64_t address, int most_steps) const {
  Copy* copy = bucket(address).load(std::memory_order_acquire);
  for (int steps = 0; copy != nullptr && steps < most_steps; ++steps) {
    if (copy->address.load(std::memory_order_relaxed) == address) return copy;
    copy = copy->next.load(std::memory_order_acquire);
  }
  return nullptr;
}

inline Copy* Cache::find(const runtime::ThreadPins& me, std::uint64_t address) const {
  if (const auto* recent = static_cast<const Recent*>(me.upper.load(std::memory_order_relaxed))) {
    Copy* const copy = recent->copies[hash(address) % Recent::kCopies].load(std::memory_order_relaxed);
    if (copy != nullptr && copy->address.load(std::memory_order_relaxed) == address) return copy;
  }
  return find_in_table(address, kStepsUnlocked);
}

inline void Cache::note_use(Copy& copy) {
  const std::uint8_t uses = copy.uses.load(std::memory_order_relaxed);
  if (uses < 3) copy.uses.store(static_cast<std::uint8_t>(uses + 1), std::memory_order_relaxed);
}

}  // namespace dsm::hints
