// The object cache on two nodes, one check by name. `bounded` and `standing`, run with DSM_OBJECT_CACHE=2M: it keeps
// its bound and what is used often, and what only this node has; node 1 reads objects of node 0 that are five times the
// cache. The others: what it must not lose, and who must not be forgotten.
#include <dsm/hints.h>

#include <algorithm>
#include <atomic>
#include <thread>
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

// What is borrowed stays as it was, although its copy has been replaced and the memory of others like it used again.
void held() {
  constexpr std::size_t kFew = 200;
  auto* objects = shared<Object>("objects", [] { return block<Object>(kFew); });
  if (dsm::node() == 0) std::fill_n(dsm::borrow_mut(&objects[0])->words, 127, 1);
  meet();
  dsm::shared_ref<Object> before;
  if (dsm::node() == 1) before = dsm::borrow_shared(&objects[0]);
  meet();
  if (dsm::node() == 0) std::fill_n(dsm::borrow_mut(&objects[0])->words, 127, 2);
  meet();
  if (dsm::node() == 1) {
    EXPECT(dsm::borrow_shared(&objects[0])->words[126] == 2);
    for (unsigned i = 0; i < 20 * kFew; ++i) {
      std::fill_n(dsm::borrow_mut(&objects[1 + i % (kFew - 1)])->words, 127, 3);
    }
    for (const std::uint64_t word : before->words) EXPECT(word == 1);
    before.release();
  }
  meet();
}

// A thread has fetched an object that another thread fetches, too, after it was changed, and keeps its copy last.
void latest() {
  auto* bits = shared<std::atomic<std::uint64_t>>("bits", [] { return block<std::atomic<std::uint64_t>>(1); });
  dsm::own_ptr<Object> mine;
  if (dsm::node() == 0) {
    mine = dsm::make_owned<Object>();
    bits->store(mine.bits());
  }
  meet();
  if (dsm::node() == 1) {
    auto owner = dsm::own_ptr<Object>::adopt(bits->load());
    const Object* const object = owner.address();
    std::atomic<bool> begun{false}, go_on{false};
    std::thread early([&] {
      dsm::prefetch(owner);
      begun.store(true);
      begun.notify_one();
      go_on.wait(false);
    });
    begun.wait(false);
    meet();  // it is changed
    meet();
    std::thread([&] { EXPECT(dsm::borrow_shared(object)->number == 5); }).join();
    go_on.store(true);
    go_on.notify_one();
    early.join();  // which ends the fetch that it has begun
    const auto& misses = dsm::hints::engine().node.stats->object_miss;
    const std::uint64_t before = misses.load();
    std::thread([&] { EXPECT(dsm::borrow_shared(object)->number == 5); }).join();
    EXPECT(misses.load() == before);
    owner.leak();
  } else {
    meet();
    if (dsm::node() == 0) dsm::borrow_mut(mine)->number = 5;
    meet();
  }
  meet();
}

// What a node keeps by transfer is newer than its home's bytes: it is not given up for room.
void standing() {
  constexpr std::size_t kKept = 8;
  auto* objects = shared<Object>("objects", [] { return block<Object>(kObjects); });
  if (dsm::node() == 1) {
    for (std::size_t i = 0; i < kKept; ++i) {
      dsm::transfer(&objects[i], 1);
      dsm::borrow_mut(&objects[i])->number = i + 1;
    }
    const auto& evicted = dsm::hints::engine().node.stats->object_evict;
    const std::uint64_t before = evicted.load();
    for (std::size_t i = kKept; i < kObjects; ++i) EXPECT(dsm::borrow_shared(&objects[i])->number == 0);
    EXPECT(evicted.load() - before > kObjects / 2);
    for (std::size_t i = 0; i < kKept; ++i) EXPECT(dsm::borrow_shared(&objects[i])->number == i + 1);
    for (std::size_t i = 0; i < kKept; ++i) ++dsm::borrow_mut(&objects[i])->number;
  }
  meet();
  for (std::size_t i = 0; i < kKept; ++i) EXPECT(dsm::borrow_shared(&objects[i])->number == i + 2);
  meet();
}

// Who waits for an object in its home's queue is served when a thread of the home lets it go.
void asked() {
  auto* object = shared<Object>("objects", [] { return block<Object>(1); });
  auto& engine = dsm::hints::engine();
  for (std::uint64_t round = 0; round < 20; ++round) {
    dsm::mut_ref<Object> held;
    if (dsm::node() == 0) held = dsm::borrow_mut(object);
    meet();
    if (dsm::node() == 1) {
      EXPECT(++dsm::borrow_mut(object)->number == 2 * round + 2);
    } else if (dsm::node() == 0) {
      ++held->number;
      const auto* const header = engine.header(reinterpret_cast<std::uint64_t>(object));
      while (!dsm::proto::is_asked(header->load())) std::this_thread::yield();
      held.release();
    }
    meet();
  }
}

// A block of interleaved memory is freed while another node has an object in it standing and changed: nothing of that
// object comes home into what lies there next, which has other bounds.
void freed_standing() {
  struct Large {
    std::array<std::uint64_t, 512> words;
  };
  static_assert(sizeof(Large) == 4096);
  auto* large = shared<Large>("large", [] { return block<Large>(1, dsm::interleaved); });
  std::uint64_t* const words = large->words.data();
  constexpr std::size_t kFirst = 8;  // words: of another granule
  const unsigned last = dsm::nodes() - 1;
  for (std::uint64_t round = 1; round < 20; ++round) {
    if (dsm::node() == last) {
      dsm::transfer(large, last);
      dsm::borrow_mut(large)->words.fill(round * 1000);
    }
    meet();
    if (dsm::node() == 0) {
      dsm::free(large);
      void* again = nullptr;
      while ((again = dsm::alloc(sizeof(Large), 0, dsm::interleaved)) != large) {  // not before all have forgotten it
        dsm::free(again);
        std::this_thread::yield();
      }
      *dsm::borrow_mut(words + kFirst) = round;
    }
    meet();
    if (dsm::node() == 0) static_cast<void>(*dsm::borrow_shared(words));  // whatever it is
    meet();
    EXPECT(*dsm::borrow_shared(words + kFirst) == round);
    EXPECT(words[kFirst] == round);
    meet();
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run({{"asked", asked},
              {"bounded", bounded},
              {"freed_standing", freed_standing},
              {"held", held},
              {"latest", latest},
              {"standing", standing}},
             argc, argv);
}
