// The small clusters that are explored. Each says which operations its threads may choose from, how many of them, and
// how the executor behaves; the explorer does the rest.
#include "tests/sim/explorer.h"

namespace dsm::sim {
namespace {

Options cluster(unsigned nodes, unsigned pages, unsigned ops, Options::Weights weights) {
  Options options;
  options.nodes = nodes;
  options.pages = pages;
  options.ops = ops;
  options.weights = weights;
  return options;
}

Options with(Options options, bool Options::*flag, bool value) {
  options.*flag = value;
  return options;
}

Options nested(Options options) {
  options.nested = 50;
  return options;
}

Options lives(Options options, bool one_header) {
  options.lives = 50;
  options.one_header = one_header;
  return options;
}

Options ring_of(Options options, unsigned messages) {
  options.ring = messages;
  return options;
}

Options threads(Options options, unsigned number) {
  options.threads = number;
  return options;
}

Options latch_only(Options options) {
  options.latch_only = 100;
  options.locks = true;
  return options;
}

constexpr Options::Weights kRaw{.read = 1, .write = 0, .modify = 1};
constexpr Options::Weights kBorrows{.read = 0, .write = 0, .modify = 0, .borrow = 1};
constexpr Options::Weights kMixed{.read = 1, .write = 0, .modify = 1, .borrow = 1};
constexpr Options::Weights kOwners{.read = 0, .write = 0, .modify = 1, .borrow = 1, .transfer = 1};
constexpr Options::Weights kHints{.read = 1,
                                  .write = 0,
                                  .modify = 1,
                                  .borrow = 0,
                                  .prefetch = 1,
                                  .fresh = 1,
                                  .keep_reading = 1,
                                  .release = 1,
                                  .transfer = 1};
constexpr Options::Weights kAhead{.read = 1, .write = 0, .modify = 1, .release = 1, .ahead = 1};
constexpr Options::Weights kCleaned{.read = 1, .write = 0, .modify = 1, .release = 1, .clean = 1};

}  // namespace

const std::vector<Space>& spaces() {
  static const std::vector<Space> all = {
      {"raw-2", cluster(2, 1, 3, kRaw)},
      {"raw-3", cluster(3, 1, 1, kRaw)},
      {"raw-2-pages", cluster(2, 2, 1, kRaw)},
      {"hints-2", cluster(2, 1, 2, kHints)},
      {"ahead-2", cluster(2, 1, 2, kAhead)},
      {"cleaned-2", cluster(2, 1, 2, kCleaned)},
      {"locks-2", latch_only(cluster(2, 1, 2, kRaw))},
      {"borrows-2", cluster(2, 1, 1, kBorrows)},
      {"borrows-large-2", with(cluster(2, 1, 1, kBorrows), &Options::small_objects, false)},
      {"mixed-2", cluster(2, 1, 1, kMixed)},
      {"mixed-3", cluster(3, 1, 1, kMixed)},
      {"owners-2", cluster(2, 1, 2, kOwners)},
      {"fine-2", with(cluster(2, 1, 1, kMixed), &Options::fine, true)},
      {"rings-2", ring_of(cluster(2, 2, 1, kMixed), 1)},
      {"late-answers-2", with(cluster(2, 1, 1, kBorrows), &Options::late_answers, true)},
      {"threads-2", threads(cluster(2, 1, 1, kMixed), 2)},
      {"nested-2", nested(cluster(2, 2, 1, kMixed))},
      {"lives-2", lives(cluster(2, 1, 2, kOwners), false)},
      {"neighbours-2", lives(cluster(2, 1, 1, kBorrows), true)},
  };
  return all;
}

}  // namespace dsm::sim
