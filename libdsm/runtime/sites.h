// Allocation sites that are served otherwise than they ask, since an earlier run's profile says so (DSM_SITES,
// dsmrun --auto-from). A site is the return address of the call that allocates. There is no Sites without such a
// profile; with one, an allocation at any other site costs one look into a table that is mostly empty.
//
// 1. Apart: each block on pages of its own, in this node's slice, from an arena with a bound (heap.h); then as ever.
// 2. At a node, spread: blocks of a page and more, since a block that another node has to give costs a message. Not
//    where the program says itself which node it wants, and not with memory nodes, where no program node is a home.
// 3. A block that was served otherwise is a block like any other: it may be freed, resized and measured anywhere.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/modules.h"
#include "base/result.h"
#include "insight/marks.h"
#include "runtime/blocks.h"

namespace dsm::runtime {

struct Node;

class Sites {
 public:
  // What is wrong has been logged: no marks, or a module that is another build than the one that was profiled.
  static Result<std::unique_ptr<Sites>> create(Node& node, const std::string& text, const std::vector<Module>& modules);

  // nullptr: an ordinary site.
  const insight::Serving* at(const void* call) const {
    const auto address = reinterpret_cast<std::uint64_t>(call);
    for (std::size_t i = (address * kScatter) >> shift_;; i = (i + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[i];
      if (slot.call == 0) return nullptr;
      if (slot.call == address) return &slot.serving;
    }
  }

  // `asked`: as without a profile, and as it is done if it cannot be done otherwise. `named`: the program names it.
  void* allocate(const insight::Serving& serving, std::size_t bytes, std::size_t alignment, Place asked, bool named);
  Place place_of(const insight::Serving& serving, std::size_t bytes, Place asked, bool named);
  // A block is resized at an ordinary site or another one.
  void* resize(void* block, std::size_t bytes, const void* call);

 private:
  struct Slot {
    std::uint64_t call = 0;
    insight::Serving serving;
  };
  explicit Sites(Node& node) : node_(node) {}
  void fill(const std::vector<Slot>& calls);

  static constexpr std::uint64_t kScatter = 0x9e3779b97f4a7c15U;
  Node& node_;
  std::vector<Slot> slots_;  // a power of two, at the most a quarter of them used
  unsigned shift_ = 0;
  std::atomic<std::uint32_t> next_{0};  // whose turn it is to have a block that is spread
};

}  // namespace dsm::runtime
