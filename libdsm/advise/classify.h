// How a page is shared, from what each node did with it: pure code. What is known is the faults: the first access after
// each gain of a page, not the accesses that follow. A node that comes back often is seen often, which is what costs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace dsm::advise {

enum class Pattern : std::uint8_t {
  kPrivate,           // one node only
  kReadMostly,        // all read, and little is written
  kStreaming,         // one page after another, each once or twice
  kProducerConsumer,  // one node writes, others read what it has written
  kMigratory,         // one object, which one node after another reads and writes
  kWriteShared,       // several objects, and several nodes write the same ones
  kFalseSharing,      // nodes disturb each other although none touches what another writes
  kLockProtected,     // written by several nodes, under a lock
};
inline constexpr std::size_t kPatterns = 8;
std::string_view name_of(Pattern pattern);

// What one node did with a page.
struct NodeUse {
  NodeId node = 0;
  std::uint64_t reads = 0, writes = 0;  // faults
  std::uint64_t waits = 0;
  std::uint64_t fault_ns = 0;
  std::uint64_t wait_ns = 0;
  std::uint64_t invalidated = 0;
  std::uint64_t moved = 0;  // pages fetched and written back
  std::uint64_t streamed = 0;
  std::uint64_t locked = 0;     // faults by threads that held a lock
  std::uint64_t lock_page = 0;  // of the last of these locks; 0: there was none. No lock's page is 0
  std::uint64_t granules_read = 0, granules_written = 0;  // one bit for each 64 bytes

  std::uint64_t faults() const { return reads + writes; }
};

struct PageUse {
  PageId page = 0;
  std::vector<NodeUse> nodes;  // those that have touched it

  std::uint64_t fault_ns() const;
  std::uint64_t faults() const;
  bool stayed_home(NodeId home) const;  // no other node has touched it
};

Pattern classify(const PageUse& page);

// The pattern of pages that go together, by what each of them costs. Pages that stayed at home tell nothing of how the
// others are shared, however long their first touch took: they count only if there are no others.
class Vote {
 public:
  void add(const PageUse& page, NodeId home);
  void add(Pattern pattern, std::uint64_t cost_ns);
  Pattern winner() const;
  double share() const;  // of the cost of the pages that count, from 0 to 1

 private:
  std::uint64_t cost_[kPatterns]{};
};

}  // namespace dsm::advise
