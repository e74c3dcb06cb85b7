// The map of the global range: which address belongs to which page and which node is its home.
//
//   base                                                                         (same on every node)
//   | slice of node 0 | slice of node 1 | ... | interleaved region | latch-only pages (no memory) |
//
// 1. A slice's pages are homed at its node. The slices of the memory nodes, which are the last nodes, are one region,
//    the lent memory: its chunks are homed at the memory nodes in turn.
// 2. The interleaved region's granules (kGranulePages pages each) are homed round robin, at the memory nodes only if
//    there are any.
// 3. Latch-only pages have a latch word and no bytes: locks and other synchronisation use them.
// 4. Everything is indexed by the page's number in the whole range: a node's memfd, its latch table and its local
//    page table are sparse, so unused entries cost address space only.
#pragma once

#include <cstdint>

#include "base/types.h"

namespace dsm {

inline constexpr std::uint64_t kDefaultBase = 0x2000'0000'0000;
inline constexpr std::uint64_t kGranulePages = 16;  // interleaving granule: 64 KiB
inline constexpr std::uint64_t kLatchesPerNode = std::uint64_t{1} << 20;

struct Geometry {
  std::uint64_t base = kDefaultBase;
  std::uint64_t slice_bytes = 0;        // a multiple of kChunkBytes
  std::uint64_t interleaved_bytes = 0;  // a multiple of kChunkBytes
  unsigned nodes = 1;                   // memory nodes included
  unsigned memory_nodes = 0;            // the last ones; they run no program

  constexpr unsigned program_nodes() const { return nodes - memory_nodes; }
  constexpr std::uint64_t slice_pages() const { return slice_bytes >> kPageShift; }
  constexpr std::uint64_t sliced_pages() const { return slice_pages() * nodes; }
  constexpr std::uint64_t interleaved_pages() const { return interleaved_bytes >> kPageShift; }
  constexpr std::uint64_t memory_pages() const { return sliced_pages() + interleaved_pages(); }  // pages with bytes
  constexpr std::uint64_t memory_bytes() const { return memory_pages() << kPageShift; }
  constexpr std::uint64_t all_pages() const { return memory_pages() + kLatchesPerNode * nodes; }

  constexpr PageId slice_first(NodeId node) const { return slice_pages() * node; }
  constexpr PageId lent_first() const { return slice_pages() * program_nodes(); }
  constexpr PageId interleaved_first() const { return sliced_pages(); }
  constexpr PageId latches_first(NodeId node) const { return memory_pages() + kLatchesPerNode * node; }

  constexpr bool holds(std::uint64_t address) const { return address - base < memory_bytes(); }
  constexpr PageId page_of(std::uint64_t address) const { return (address - base) >> kPageShift; }
  // The pages that some bytes, one at the least, lie in.
  constexpr PageRange pages_of(std::uint64_t address, std::uint64_t bytes) const {
    const PageId first = page_of(address);
    return {first, static_cast<std::uint32_t>(page_of(address + (bytes == 0 ? 0 : bytes - 1)) - first + 1)};
  }
  constexpr std::uint64_t address_of(PageId page) const { return base + (page << kPageShift); }
  constexpr bool has_bytes(PageId page) const { return page < memory_pages(); }
  constexpr bool lent(PageId page) const { return page >= lent_first() && page < sliced_pages(); }
  constexpr bool interleaved(PageId page) const { return page >= sliced_pages() && page < memory_pages(); }

  constexpr NodeId home(PageId page) const {
    if (page < lent_first()) return static_cast<NodeId>(page / slice_pages());
    if (page < sliced_pages()) return in_turn((page - lent_first()) / kPagesPerChunk, memory_nodes);
    if (page < memory_pages()) {
      return in_turn((page - sliced_pages()) / kGranulePages, memory_nodes != 0 ? memory_nodes : nodes);
    }
    return static_cast<NodeId>((page - memory_pages()) / kLatchesPerNode);
  }
  // The first page behind this one that may have another home.
  constexpr PageId home_end(PageId page) const {
    if (page < lent_first()) return slice_first(static_cast<NodeId>(page / slice_pages() + 1));
    const bool in_lent = page < sliced_pages();
    const PageId first = in_lent ? lent_first() : sliced_pages();
    const std::uint64_t together = in_lent ? kPagesPerChunk : kGranulePages;
    return first + ((page - first) / together + 1) * together;
  }

 private:
  // The last `of` nodes in turn.
  constexpr NodeId in_turn(std::uint64_t which, unsigned of) const {
    return static_cast<NodeId>(nodes - of + which % of);  // NOLINT(clang-analyzer-core.DivideZero): there is one
  }
};

}  // namespace dsm
