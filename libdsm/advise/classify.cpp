#include "advise/classify.h"

#include <algorithm>
#include <bit>

namespace dsm::advise {
namespace {

// One write fault in so many faults, and fewer, and a page counts as one that is mostly read.
constexpr std::uint64_t kMostlyRead = 10;
// As many granules of a page make an object that migrates; more are several objects.
constexpr int kObjectGranules = 4;
// One granule in so many may be a neighbour's, and it is false sharing still: objects that begin on no granule's edge.
constexpr int kFalseShare = 8;

struct Sums {
  std::uint64_t reads = 0, writes = 0, waits = 0, invalidated = 0, streamed = 0, locked = 0;
  unsigned writers = 0, readers = 0;
  std::uint64_t touched = 0;   // granules
  std::uint64_t disputed = 0;  // granules that one node writes and another touches

  std::uint64_t faults() const { return reads + writes; }
};

Sums sums_of(const PageUse& page) {
  Sums sums;
  for (const NodeUse& use : page.nodes) {
    sums.reads += use.reads;
    sums.writes += use.writes;
    sums.waits += use.waits;
    sums.invalidated += use.invalidated;
    sums.streamed += use.streamed;
    sums.locked += use.locked;
    sums.writers += use.writes != 0 ? 1 : 0;
    sums.readers += use.reads != 0 ? 1 : 0;
    sums.touched |= use.granules_read | use.granules_written;
    for (const NodeUse& other : page.nodes) {
      if (other.node == use.node) continue;
      sums.disputed |= use.granules_written & (other.granules_read | other.granules_written);
    }
  }
  return sums;
}

// Nodes wait for each other, and what they want is not the same.
bool is_false_sharing(const Sums& sums) {
  return sums.invalidated > 1 && std::popcount(sums.disputed) * kFalseShare <= std::popcount(sums.touched) &&
         std::popcount(sums.touched) > 1;
}

}  // namespace

std::string_view name_of(Pattern pattern) {
  constexpr std::string_view kNames[kPatterns] = {"private",   "read-mostly",  "streaming",     "producer-consumer",
                                                  "migratory", "write-shared", "false-sharing", "lock-protected"};
  return kNames[static_cast<std::size_t>(pattern)];
}

std::uint64_t PageUse::fault_ns() const {
  std::uint64_t sum = 0;
  for (const NodeUse& use : nodes) sum += use.fault_ns;
  return sum;
}

std::uint64_t PageUse::faults() const {
  std::uint64_t sum = 0;
  for (const NodeUse& use : nodes) sum += use.faults();
  return sum;
}

bool PageUse::stayed_home(NodeId home) const { return nodes.size() == 1 && nodes.front().node == home; }

Pattern classify(const PageUse& page) {
  const Sums sums = sums_of(page);
  const bool streams = sums.streamed * 2 >= sums.faults() && sums.streamed != 0;
  const bool contended = sums.invalidated > page.nodes.size() * 2;  // more than one pass over it explains
  if (streams && !contended) return Pattern::kStreaming;
  if (page.nodes.size() < 2) return Pattern::kPrivate;
  if (sums.locked * 2 > sums.faults() && sums.writers > 1) return Pattern::kLockProtected;
  if (is_false_sharing(sums)) return Pattern::kFalseSharing;
  if (sums.writes * kMostlyRead <= sums.faults() || !contended) return Pattern::kReadMostly;
  if (sums.writers == 1) return Pattern::kProducerConsumer;
  return std::popcount(sums.disputed) <= kObjectGranules ? Pattern::kMigratory : Pattern::kWriteShared;
}

void Vote::add(const PageUse& page, NodeId home) {
  if (!page.stayed_home(home)) add(classify(page), page.fault_ns());
}

void Vote::add(Pattern pattern, std::uint64_t cost_ns) { cost_[static_cast<std::size_t>(pattern)] += cost_ns + 1; }

Pattern Vote::winner() const {
  return static_cast<Pattern>(std::max_element(std::begin(cost_), std::end(cost_)) - std::begin(cost_));
}

double Vote::share() const {
  std::uint64_t all = 0;
  for (const std::uint64_t cost : cost_) all += cost;
  return all == 0 ? 1 : static_cast<double>(cost_[static_cast<std::size_t>(winner())]) / static_cast<double>(all);
}

}  // namespace dsm::advise
