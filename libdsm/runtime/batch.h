// One run of the protocol over pages that share a home, in the order of their numbers: rounds of {step every page,
// execute what the steps ask for, in one chain, consecutive pages merged} until nothing is in flight. One page is a
// batch of one.
#pragma once

#include <cstdint>
#include <span>

#include "base/types.h"
#include "net/transport.h"
#include "proto/page.h"
#include "runtime/entry.h"

namespace dsm::runtime {

struct Node;

// What a latch word of zeros in memory means: the words there are kept xor this. A page of a program node's slice is
// its home's until that shares it; any other is free from the start: its home's program, if it has one, has no more to
// do with it than any other.
inline proto::Word stored_zero(const Geometry& geometry, PageId page) {
  return geometry.interleaved(page) || geometry.lent(page) ? proto::kFreeWord : 0;
}

inline constexpr std::size_t kMaxBatch = 512;
inline constexpr std::size_t kOpsPerPage = 6;  // write, waiters, swap, two latch reads, read

struct Item {
  Entry* entry;
  PageId page;
  proto::Event event;
  proto::Actions actions;
  bool active;                 // has an event to be stepped
  Access had = Access::kNone;  // before the step
  bool landed = false;         // its bytes have come to Batch::landing and not to its place
};

// The lists a batch works in. Too large for a signal stack, so batches of more than one page borrow one from a pool.
struct Workspace {
  Item items[kMaxBatch];
  net::Op ops[kMaxBatch * kOpsPerPage];
  alignas(kPageBytes) std::byte landing[kMaxBatch * kPageBytes];  // memory that costs nothing until used
};

// A nudge that its sender has kept back: the page may come unasked (one_store.cpp).
struct LateNudge {
  NodeSet to = 0;
  proto::PageMessage message{};
};

struct Batch {
  Node& node;
  std::span<Item> items;  // their entries' locks are held
  std::span<net::Op> ops;
  // Where pages that local memory has no bytes of land: the engine puts them into their place when it maps them, which
  // is cheaper than to have the place made first. A page an item; nullptr: they come to their place at once.
  std::byte* landing = nullptr;
  bool map_later = false;     // what is granted stays inaccessible until it faults
  LateNudge* late = nullptr;  // takes a nudge, of one page

  void run();

 private:
  void step_all();
  static void note_wish(Entry& entry, proto::EventKind kind);
  void note_borrows(Item& item);
  void take_away();
  void run_chain();
  void give();
  void tell();
  void finish_round();

  PageRange run_of(std::size_t at, std::size_t n) const { return {items[at].page, static_cast<std::uint32_t>(n)}; }
  void count_chain(std::span<const net::Op> chain, std::size_t words, std::size_t reads);
  template <typename Wanted, typename Do>
  void for_runs(Wanted wanted, Do act);
  template <typename Do>
  void for_open(std::size_t at, std::size_t n, Do act);
  proto::Place place() const;
  bool rests(const Item& item) const;
  bool lands(const Item& item) const;
  const std::byte* bytes_of(std::size_t at, std::size_t n) const;
  void note_bytes();
  void settle_landed();
  void map(std::size_t at, std::size_t n, Access access);
  void note_mapping(const Item& item);
  void map_rested();
  void note_grant(Item& item);
  void await_use(Item& item);
};

}  // namespace dsm::runtime
