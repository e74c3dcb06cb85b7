// One run of the protocol over consecutive pages that share a home: rounds of {step every page, execute what the steps
// ask for, merged} until nothing is in flight. One page is a batch of one.
#pragma once

#include <cstdint>
#include <span>

#include "base/types.h"
#include "net/transport.h"
#include "proto/page.h"
#include "runtime/entry.h"

namespace dsm::runtime {

struct Node;

inline constexpr std::size_t kMaxBatch = 512;
inline constexpr std::size_t kOpsPerPage = 6;  // write, waiters, swap, two latch reads, read

struct Item {
  Entry* entry;
  proto::Event event;
  proto::Actions actions;
  bool active;                 // has an event to be stepped
  Access had = Access::kNone;  // before the step
};

// The lists a batch works in. Too large for a signal stack, so batches of more than one page borrow one from a pool.
struct Workspace {
  Item items[kMaxBatch];
  net::Op ops[kMaxBatch * kOpsPerPage];
};

struct Batch {
  Node& node;
  PageId first;
  std::span<Item> items;  // items[i] is page first + i; its entry's lock is held
  std::span<net::Op> ops;
  bool map_later = false;  // what is granted stays inaccessible until it faults

  void run();

 private:
  void step_all();
  void take_away();
  void run_chain();
  void give();
  void tell();
  void finish_round();

  void count_chain(std::span<const net::Op> chain, std::size_t words, std::size_t reads);
  template <typename Wanted, typename Do>
  void for_runs(Wanted wanted, Do act);
  proto::Place place() const;
  proto::Word stored_zero() const;
  PageId page_of(const Item& item) const;
  bool rests(const Item& item) const;
  void note_bytes();
  void note_mapping(const Item& item);
  void map_rested();
  void note_grant(Item& item);
  void await_use(std::size_t index);
};

}  // namespace dsm::runtime
