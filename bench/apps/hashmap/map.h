// A chained hash map in global memory: a lock a bucket, entries from the global heap of whichever node inserts them.
//
// 1. Locks and heads are in arrays of their own: a lock's handle is never written after construction, so taking locks
//    does not invalidate the pages the handles are in.
// 2. A bucket's chain is read and written under its lock only.
#pragma once

#include <array>
#include <cstdint>

#include "bench/apps/frame/job.h"

namespace app {

using Payload = std::array<std::uint64_t, 4>;

struct Entry {
  std::uint64_t key;
  Entry* next;
  std::uint64_t count;   // increments
  std::uint64_t writes;  // puts
  Payload payload;       // of the last put; zeros before the first
};

class Map {
 public:
  // Called by every node; buckets is a power of two.
  Map(Job& job, std::uint64_t buckets);

  // False: there is no such key.
  bool get(std::uint64_t key, Payload& payload) const;
  // False: memory is used up. Both insert the key when it is not there.
  bool put(std::uint64_t key, const Payload& payload);
  bool increment(std::uint64_t key);

  // Every entry, for one caller while nobody writes.
  template <typename Visit>
  void for_each(Visit visit) const {
    for (std::uint64_t bucket = 0; bucket <= mask_; ++bucket) {
      for (const Entry* entry = heads_[bucket]; entry != nullptr; entry = entry->next) visit(*entry);
    }
  }

 private:
  std::uint64_t bucket_of(std::uint64_t key) const { return (key >> 11) & mask_; }
  Entry* find(std::uint64_t bucket, std::uint64_t key) const;
  Entry* find_or_insert(std::uint64_t bucket, std::uint64_t key);

  std::uint64_t mask_;
  dsm::mutex* locks_;
  Entry** heads_;
};

}  // namespace app
