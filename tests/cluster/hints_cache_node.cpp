// The object cache keeps its bound and what is used often, and lets nobody lose what he has borrowed. Run with
// DSM_OBJECT_CACHE=2M on two nodes: node 1 reads objects of node 0 that are five times the cache.
#include <dsm/hints.h>

#include <vector>

#include "hints/borrow.h"
#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

constexpr std::size_t kObjects = 10'000, kHot = 200;

struct Object {
  std::uint64_t number;
  std::uint64_t words[127];
};

void bounded() {
  auto* objects = shared<Object>("objects", [] {
    auto* made = block<Object>(kObjects);
    for (std::size_t i = 0; i < kObjects; ++i) made[i].number = i;
    return made;
  });
  if (dsm::node() == 1) {
    const std::uint64_t limit = 2 << 20;
    auto& engine = dsm::hints::engine();
    auto held = dsm::borrow_shared(&objects[7]);
    std::uint64_t hot_misses = 0, hot_reads = 0;
    const auto miss = [&] { return engine.node.stats->object_miss.load(); };
    for (std::size_t i = kHot; i < kObjects; ++i) {
      EXPECT(dsm::borrow_shared(&objects[i])->number == i);
      if (i % 4 != 0) continue;
      const std::size_t hot = i / 4 % kHot;
      const std::uint64_t before = miss();
      EXPECT(dsm::borrow_shared(&objects[hot])->number == hot);
      hot_misses += miss() - before;
      ++hot_reads;
      EXPECT(engine.cache.bytes_used() <= limit);
    }
    EXPECT(held->number == 7);
    EXPECT(engine.node.stats->object_evict.load() > kObjects / 2);
    EXPECT(hot_misses < 3 * kHot && hot_reads > 10 * kHot);
    for (std::size_t i = 0; i < kObjects; i += 3) dsm::borrow_mut(&objects[i])->words[0] = i;
    EXPECT(engine.cache.bytes_used() <= limit);
  }
  meet();
  for (std::size_t i = 0; i < kObjects; i += 3) EXPECT(objects[i].words[0] == i);
  meet();
}

}  // namespace

int main(int argc, char** argv) { return run({{"bounded", bounded}}, argc, argv); }
