// A node's counters, in memory that dsmstat maps: one block of relaxed atomics, no locks. Every counter has a unit.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace dsm {

// X(field, unit, help)
#define DSM_COUNTERS(X)                                                                      \
  X(fault_read, "faults", "read faults taken by the program")                                \
  X(fault_write, "faults", "write faults taken by the program")                              \
  X(miss_remote, "pages", "pages fetched from another node's memory")                        \
  X(miss_local, "pages", "faults on pages homed here, no bytes moved")                       \
  X(readahead_pages, "pages", "pages fetched, or asked for, ahead of need")                  \
  X(upgrade, "pages", "pages raised from read to write access")                              \
  X(emulated, "accesses", "loads and stores made for the program, to give the page on")      \
  X(downgrade, "pages", "pages lowered from write to read access for another node")          \
  X(invalidate, "pages", "pages given up because another node writes")                       \
  X(write_back, "pages", "pages whose bytes were written to their home")                     \
  X(chunk_shared, "chunks", "2 MiB chunks turned from private to shared")                    \
  X(chunk_leased, "chunks", "2 MiB chunks leased from memory nodes")                         \
  X(fresh_page, "pages", "pages touched for the first time, with no communication")          \
  X(resident_pages, "pages", "other nodes' pages that are here now")                         \
  X(foreseen, "pages", "pages fetched to be read that were made writable, too, as before")   \
  X(evicted, "pages", "pages put out of the local memory")                                   \
  X(evict_write, "pages", "pages written to their home for that")                            \
  X(cleaned, "pages", "pages written to their home before they had to go")                   \
  X(evict_stall, "faults", "faults that had to make room themselves")                        \
  X(rested, "pages", "pages made inaccessible to see whether they are in use")               \
  X(refault, "faults", "touches of such pages, with no communication")                       \
  X(object_entered, "pages", "pages gained for object work")                                 \
  X(object_left, "pages", "pages given up by object work because somebody touched them raw") \
  X(wait, "waits", "faults that waited for another node to give way")                        \
  X(bytes_read, "bytes", "bytes read one-sided from other nodes")                            \
  X(bytes_written, "bytes", "bytes written one-sided to other nodes")                        \
  X(op_read, "operations", "one-sided reads")                                                \
  X(op_write, "operations", "one-sided writes")                                              \
  X(op_atomic, "operations", "one-sided compare-and-swaps and fetch-adds")                   \
  X(message_sent, "messages", "messages sent")                                               \
  X(message_received, "messages", "messages received")                                       \
  X(lock_local, "locks", "locks taken with no communication")                                \
  X(lock_remote, "locks", "locks that had to be fetched from another node")                  \
  X(barrier, "barriers", "barriers passed")                                                  \
  X(alloc, "calls", "allocations from the global heap")                                      \
  X(alloc_apart, "calls", "of these, blocks on pages of their own (--auto-from)")            \
  X(alloc_placed, "calls", "of these, blocks on other nodes than would have been asked")     \
  X(free_local, "calls", "blocks freed at their home")                                       \
  X(free_remote, "calls", "blocks freed on another node than their home")                    \
  X(object_local, "borrows", "objects borrowed at their home")                               \
  X(object_hit, "borrows", "objects borrowed from the cache without communication")          \
  X(object_revalidate, "borrows", "cached objects found current by one read of the header")  \
  X(object_miss, "borrows", "objects fetched from another node")                             \
  X(object_write, "borrows", "objects of other nodes borrowed to be changed")                \
  X(object_write_back, "objects", "changed objects written to their home")                   \
  X(object_move, "objects", "owned objects moved to another node")                           \
  X(object_kept, "borrows", "objects of other nodes changed where they stand: on this node") \
  X(object_recall, "objects", "standing objects called back for somebody who waits")         \
  X(object_wait, "borrows", "borrows that waited in the queue of the object's home")         \
  X(object_evict, "objects", "copies put out of the object cache for want of room")

// Latency histograms: bucket i counts events of [2^i, 2^(i+1)) nanoseconds.
#define DSM_HISTOGRAMS(X)                                       \
  X(fault_latency, "ns", "from fault to resolution")            \
  X(wait_latency, "ns", "waiting for another node to give way") \
  X(lock_latency, "ns", "taking a lock from another node")

inline constexpr std::size_t kHistogramBuckets = 40;

struct Histogram {
  std::atomic<std::uint64_t> bucket[kHistogramBuckets];
  std::atomic<std::uint64_t> max_ns;

  void add(std::int64_t ns) {
    const auto value = static_cast<std::uint64_t>(ns > 0 ? ns : 1);
    const auto index = static_cast<std::size_t>(std::bit_width(value) - 1);
    bucket[index < kHistogramBuckets ? index : kHistogramBuckets - 1].fetch_add(1, std::memory_order_relaxed);
    std::uint64_t seen = max_ns.load(std::memory_order_relaxed);
    while (value > seen && !max_ns.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
  }
};

inline constexpr std::uint32_t kStatsVersion = 3;

struct NodeStats {
  std::uint32_t version;
  std::int32_t pid;
  char engine[16];
#define DSM_FIELD(field, unit, help) std::atomic<std::uint64_t> field;
  DSM_COUNTERS(DSM_FIELD)
#undef DSM_FIELD
#define DSM_FIELD(field, unit, help) Histogram field;
  DSM_HISTOGRAMS(DSM_FIELD)
#undef DSM_FIELD
};

inline void count(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace dsm
