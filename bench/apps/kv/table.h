// The hash table of app_kv, once for each way of sharing memory. Every bucket holds exactly six keys, which are there
// from the start; a bucket's number is (key >> 11) & mask. Node n's memory holds the n-th part of the buckets.
//
//   bool get(keys, values)   copies the values of some requests that came together; false: a key is not there
//   bool add(key, delta)     changes the value; it may be done any time before finish()
//   void finish()            all that this thread has added is in the table
//   peek(bucket)             the bucket, for one caller while nobody changes the table
//
// 1. A value's words belong together: {sum, mix(sum ^ key), number of changes, ~sum}. A mixture of two is none.
// 2. Changes commute, so the table at the end does not depend on who came first.
#pragma once

#include <dsm/delegate.h>
#include <dsm/guarded.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <span>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"

namespace app::kv {

inline constexpr unsigned kKeysPerBucket = 6;
inline constexpr std::size_t kMostAtOnce = 256;  // requests of a batch

struct Value {
  std::array<std::uint64_t, 4> words;
  bool is_whole(std::uint64_t key) const { return words[1] == mix(words[0] ^ key) && words[3] == ~words[0]; }
};
static_assert(sizeof(Value) == 32);

inline Value value_of(std::uint64_t key, std::uint64_t sum, std::uint64_t changes) {
  return {{sum, mix(sum ^ key), changes, ~sum}};
}

struct alignas(64) Bucket {
  std::uint64_t version;  // of the lock in place: odd while somebody changes the bucket
  std::uint64_t spare;
  std::array<std::uint64_t, kKeysPerBucket> keys;
  std::array<Value, kKeysPerBucket> values;

  // kKeysPerBucket: not there.
  unsigned find(std::uint64_t key) const {
    return static_cast<unsigned>(std::find(keys.begin(), keys.end(), key) - keys.begin());
  }
  bool get(std::uint64_t key, Value& value) const {
    const unsigned slot = find(key);
    if (slot == kKeysPerBucket) return false;
    value = values[slot];
    return true;
  }
  bool add(std::uint64_t key, std::uint64_t delta) {
    const unsigned slot = find(key);
    if (slot == kKeysPerBucket) return false;
    values[slot] = value_of(key, values[slot].words[0] + delta, values[slot].words[2] + 1);
    return true;
  }
};
static_assert(sizeof(Bucket) == 256);

// A bucket that shares its page with no other.
struct alignas(kPageBytes) PageBucket : Bucket {};

struct Place {
  unsigned node;
  std::uint64_t index;  // in the node's part
};

// Which bucket is where. Node n's are [begin(n), begin(n + 1)).
struct Layout {
  Layout(std::uint64_t all, unsigned on) : buckets(all), nodes(on), part((all + on - 1) / on) {}

  std::uint64_t buckets;  // a power of two
  unsigned nodes;
  std::uint64_t part;  // a node's
  std::uint64_t begin(unsigned node) const { return std::min(buckets, node * part); }
  std::uint64_t of(std::uint64_t key) const { return (key >> 11) & (buckets - 1); }
  Place place(std::uint64_t bucket) const {
    const std::uint64_t node = bucket / part;
    return {static_cast<unsigned>(node), bucket - node * part};
  }
  Place place_of(std::uint64_t key) const { return place(of(key)); }
};

// Each node's part of an array with an element a bucket, in that node's memory, made by `make(memory, bucket)`.
template <typename T>
class Parts {
 public:
  template <typename Make>
  Parts(Job& job, const Layout& layout, Make make) {
    T** const all = job.shared<T*>(layout.nodes);
    for (unsigned node = 0; node < layout.nodes; ++node) {
      const std::uint64_t begin = layout.begin(node), count = layout.begin(node + 1) - begin;
      if (!job.is_own(node) || count == 0) continue;
      all[node] = job.pages<T>(count);
      for (std::uint64_t i = 0; i < count; ++i) make(&all[node][i], begin + i);
    }
    job.sync_nodes();
    parts_.assign(all, all + layout.nodes);
  }
  T& operator[](Place place) const { return parts_[place.node][place.index]; }

 private:
  std::vector<T*> parts_;
};

// fill(bucket): the bucket with its keys.
using Fill = Bucket (*)(const Layout&, std::uint64_t bucket);
inline auto filler(const Layout& layout, Fill fill) {
  return [&layout, fill](auto* memory, std::uint64_t bucket) {
    ::new (memory) std::remove_pointer_t<decltype(memory)>{fill(layout, bucket)};
  };
}
// The same by a borrow, as a program writes that uses borrows all the time.
inline auto borrowing_filler(const Layout& layout, Fill fill) {
  return [&layout, fill](Bucket* memory, std::uint64_t bucket) { *dsm::borrow_mut(memory) = fill(layout, bucket); };
}
template <typename T>
void make_lock(T* memory, std::uint64_t /*bucket*/) {
  ::new (memory) T();
}

using Keys = std::span<const std::uint64_t>;
using Values = std::span<Value>;

// One request after the other.
template <typename Table>
class OneByOne {
 public:
  bool get(Keys keys, Values values) {
    bool all = true;
    for (std::size_t i = 0; i < keys.size(); ++i) all &= static_cast<Table*>(this)->get_one(keys[i], values[i]);
    return all;
  }
  void finish() {}
};

// Locks beside the buckets: std::mutex in native mode, dsm::mutex in page mode.
template <typename Mutex>
class LockedTable : public OneByOne<LockedTable<Mutex>> {
 public:
  LockedTable(Job& job, const Layout& layout, Fill fill)
      : layout_(layout), locks_(job, layout, make_lock<Mutex>), buckets_(job, layout, filler(layout, fill)) {}
  bool get_one(std::uint64_t key, Value& value) {
    const Place bucket = layout_.place_of(key);
    const std::lock_guard held{locks_[bucket]};
    return buckets_[bucket].get(key, value);
  }
  bool add(std::uint64_t key, std::uint64_t delta) {
    const Place bucket = layout_.place_of(key);
    const std::lock_guard held{locks_[bucket]};
    return buckets_[bucket].add(key, delta);
  }
  Bucket peek(std::uint64_t bucket) { return buckets_[layout_.place(bucket)]; }

 private:
  Layout layout_;
  Parts<Mutex> locks_;
  Parts<Bucket> buckets_;
};

// Page mode with the lock in the bucket: one page brings lock and data. A version number that is odd while somebody
// writes, so that readers write nothing and all nodes can read a page at the same time.
template <typename Place>
class InPlaceTable : public OneByOne<InPlaceTable<Place>> {
 public:
  InPlaceTable(Job& job, const Layout& layout, Fill fill)
      : layout_(layout), buckets_(job, layout, filler(layout, fill)) {}

  bool get_one(std::uint64_t key, Value& value) {
    Bucket& bucket = buckets_[layout_.place_of(key)];
    const unsigned slot = bucket.find(key);  // keys never change
    if (slot == kKeysPerBucket) return false;
    const std::atomic_ref<std::uint64_t> version{bucket.version};
    for (unsigned turn = 0;; ++turn) {
      const std::uint64_t before = version.load(std::memory_order_acquire);
      if (before % 2 == 0) {
        for (unsigned i = 0; i < 4; ++i) value.words[i] = word(bucket, slot, i).load(std::memory_order_acquire);
        if (version.load(std::memory_order_relaxed) == before) return true;
      }
      wait(turn);
    }
  }
  bool add(std::uint64_t key, std::uint64_t delta) {
    Bucket& bucket = buckets_[layout_.place_of(key)];
    const unsigned slot = bucket.find(key);
    if (slot == kKeysPerBucket) return false;
    const std::atomic_ref<std::uint64_t> version{bucket.version};
    std::uint64_t before = version.load(std::memory_order_relaxed) & ~std::uint64_t{1};
    for (unsigned turn = 0; !version.compare_exchange_strong(before, before + 1); before &= ~std::uint64_t{1}) {
      wait(turn++);
    }
    const Value& now = bucket.values[slot];
    const Value next = value_of(key, now.words[0] + delta, now.words[2] + 1);
    for (unsigned i = 0; i < 4; ++i) word(bucket, slot, i).store(next.words[i], std::memory_order_relaxed);
    version.store(before + 2, std::memory_order_release);
    return true;
  }
  Bucket peek(std::uint64_t bucket) { return buckets_[layout_.place(bucket)]; }

 private:
  static std::atomic_ref<std::uint64_t> word(Bucket& bucket, unsigned slot, unsigned i) {
    return std::atomic_ref{bucket.values[slot].words[i]};
  }
  static void wait(unsigned turn) {
    if (turn < 16) return __builtin_ia32_pause();
    std::this_thread::yield();
  }

  Layout layout_;
  Parts<Place> buckets_;
};

// L1: the mutable borrow is the lock. Of its own buckets a get reads what it needs in place, those of other nodes are
// borrowed together.
class HintedTable {
 public:
  HintedTable(Job& job, const Layout& layout, Fill fill)
      : layout_(layout), buckets_(job, layout, borrowing_filler(layout, fill)), self_(job.node()) {}
  bool get(Keys keys, Values values) {
    std::array<const Bucket*, kMostAtOnce> wanted;
    std::array<std::size_t, kMostAtOnce> numbers;
    std::size_t elsewhere = 0;
    bool all = true;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const Place place = layout_.place_of(keys[i]);
      const Bucket* const bucket = &buckets_[place];
      if (place.node == self_) {
        all &= dsm::peek(bucket, [&](const Bucket& seen) noexcept { return seen.get(keys[i], values[i]); });
      } else {
        wanted[elsewhere] = bucket;
        numbers[elsewhere++] = i;
      }
    }
    if (elsewhere == 0) return all;
    const auto seen = dsm::borrow_shared_each(std::span<const Bucket* const>(wanted.data(), elsewhere));
    for (std::size_t i = 0; i < elsewhere; ++i) all &= seen[i]->get(keys[numbers[i]], values[numbers[i]]);
    return all;
  }
  bool add(std::uint64_t key, std::uint64_t delta) {
    return dsm::borrow_mut(&buckets_[layout_.place_of(key)])->add(key, delta);
  }
  void finish() {}
  Bucket peek(std::uint64_t bucket) { return *dsm::borrow_shared(&buckets_[layout_.place(bucket)]); }

 protected:
  Layout layout_;
  Parts<Bucket> buckets_;
  unsigned self_;
};

// L2: a bucket belongs to its home, which alone changes it: a put goes there as a call, and is answered when finish()
// or enough later ones have sent it. The home's own puts are borrows.
class OwnedTable : public HintedTable {
 public:
  using HintedTable::HintedTable;
  bool add(std::uint64_t key, std::uint64_t delta) {
    const Place place = layout_.place_of(key);
    Bucket* const bucket = &buckets_[place];
    if (place.node == self_) return dsm::borrow_mut(bucket)->add(key, delta);
    dsm::call_at_async(
        bucket, [](Bucket& there, std::uint64_t k, std::uint64_t by) { there.add(k, by); }, key, delta);
    return true;
  }
  void finish() { dsm::flush(); }
};

}  // namespace app::kv
