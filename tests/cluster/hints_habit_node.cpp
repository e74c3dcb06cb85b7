// Objects that stay with the node that alone changes them, and those that cannot since others share their header. One
// check by name, for two nodes and an emulated network.
#include <dsm/hints.h>

#include <array>
#include <vector>

#include "hints/borrow.h"
#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

struct Object {
  std::uint64_t number;
  std::uint64_t words[127];
};

const dsm::NodeStats& stats() { return *dsm::hints::engine().node.stats; }
std::uint64_t operations() { return stats().op_read + stats().op_write + stats().op_atomic; }

// The fifth change in a row and those that follow need no communication; who else wants the object gets what is newest.
void alone() {
  constexpr unsigned kFew = 8, kTimes = 20, kDue = 4;
  auto* objects = shared<Object>("objects", [] { return block<Object>(kFew); });
  for (unsigned round = 1; round <= 3; ++round) {
    if (dsm::node() == 1) {
      const std::uint64_t kept = stats().object_kept;
      std::uint64_t before = 0;
      for (unsigned i = 0; i < kTimes; ++i) {
        if (i == kDue) before = operations();
        for (unsigned k = 0; k < kFew; ++k) ++dsm::borrow_mut(&objects[k])->number;
        for (unsigned k = 0; i >= kDue && k < kFew; ++k) {
          EXPECT(dsm::borrow_shared(&objects[k])->number == (round - 1) * (kTimes + 1) + i + 1);
        }
      }
      EXPECT(operations() == before);
      EXPECT(stats().object_kept - kept == (kTimes - kDue) * kFew);
    }
    meet();
    for (unsigned k = 0; k < kFew; ++k) {
      const std::uint64_t value = round * (kTimes + 1) - 1;
      if (k % 2 == 0) EXPECT(dsm::borrow_shared(&objects[k])->number == value);
      if (k % 2 != 0) EXPECT(objects[k].number == value);  // raw
    }
    meet();
    if (dsm::node() == 0) {
      for (unsigned k = 0; k < kFew; ++k) ++dsm::borrow_mut(&objects[k])->number;
    }
    meet();
  }
}

// Two nodes change the same objects by turns, five times in a row: what had to be called back soon is a lesson.
void by_turns() {
  constexpr unsigned kFew = 8, kRounds = 40, kTimes = 5;
  auto* objects = shared<Object>("objects", [] { return block<Object>(kFew); });
  for (unsigned round = 0; round < kRounds; ++round) {
    if (round % 2 == dsm::node()) {
      for (unsigned k = 0; k < kFew; ++k) {
        for (unsigned i = 0; i < kTimes; ++i) EXPECT(dsm::borrow_mut(&objects[k])->number++ == round * kTimes + i);
      }
    }
    meet();
  }
  if (dsm::node() == 0) {
    EXPECT(stats().object_recall >= 1);
    EXPECT(stats().object_recall <= kFew);
  }
  meet();
}

// Objects that fit into the cache only for a while.
void room() {
  constexpr std::size_t kMany = 10'000;
  auto* objects = shared<Object>("objects", [] { return block<Object>(kMany); });
  if (dsm::node() == 1) {
    for (std::size_t k = 0; k < kMany; ++k) {
      for (unsigned i = 0; i < 6; ++i) ++dsm::borrow_mut(&objects[k])->number;
      EXPECT(dsm::hints::engine().cache.bytes_used() <= 2 << 20);
    }
    EXPECT(stats().object_kept == 2 * kMany);
  }
  meet();
  for (std::size_t k = 0; k < kMany; ++k) EXPECT(dsm::borrow_shared(&objects[k])->number == 6);
  meet();
}

// What stands at node 1 is borrowed with another size: whatever the size, all see all changes.
void sizes() {
  auto* objects = shared<Object>("objects", [] { return block<Object>(2); });
  auto* const words = reinterpret_cast<std::uint64_t*>(objects);
  if (dsm::node() == 1) {
    for (unsigned i = 0; i < 10; ++i) ++dsm::borrow_mut(objects)->words[126];
    {
      auto all = dsm::borrow_mut(std::span<std::uint64_t>(words, 256));  // beyond it, and it is in it
      EXPECT(all[127] == 10);
      ++all[127];
    }
    for (unsigned i = 0; i < 10; ++i) ++dsm::borrow_mut(objects)->words[126];
    auto some = dsm::borrow_shared(std::span<const std::uint64_t>(words, 256));
    EXPECT(some[127] == 21);
    some.release();
    for (unsigned i = 0; i < 10; ++i) ++dsm::borrow_mut(objects)->words[126];
  }
  meet();
  EXPECT(dsm::borrow_shared(objects)->words[126] == 31);
  meet();
}

// Memory of several homes: the node that has the header works with a copy, too, and never keeps it.
void several_homes() {
  constexpr std::size_t kWords = 100 * 1024 / sizeof(std::uint64_t);
  constexpr unsigned kTimes = 10;
  auto* words = shared<std::uint64_t>("words", [] { return block<std::uint64_t>(kWords, dsm::interleaved); });
  const std::span<std::uint64_t> all(words, kWords);
  for (unsigned round = 0; round < 4; ++round) {
    if (round % 2 == dsm::node()) {
      for (unsigned i = 0; i < kTimes; ++i) {
        auto w = dsm::borrow_mut(all);
        EXPECT(w[0] == round * kTimes + i && w[kWords - 1] == w[0]);
        w[kWords - 1] = ++w[0];
      }
    }
    meet();
  }
}

// Words in one granule, which have one header: each is read and changed inside borrows of the others' as ever.
void neighbours() {
  auto* words = shared<std::uint64_t>("words", [] { return block<std::uint64_t>(8); });
  if (dsm::node() == 0) *dsm::borrow_mut(&words[1]) = 7;
  meet();
  if (dsm::node() == 1) {
    for (unsigned i = 0; i < 10; ++i) {
      ++*dsm::borrow_mut(&words[0]);
      EXPECT(*dsm::borrow_shared(&words[1]) == 7);
    }
    for (unsigned i = 0; i < 10; ++i) {
      auto held = dsm::borrow_mut(&words[0]);
      EXPECT(*dsm::borrow_shared(&words[1]) == 7 + i);  // inside the borrow of its neighbour
      ++*held;
      held.release();
      ++*dsm::borrow_mut(&words[1]);
    }
    for (unsigned i = 0; i < 10; ++i) ++*dsm::borrow_mut(&words[2]);
    {
      auto both = dsm::borrow_mut(std::span<std::uint64_t>(words, 3));  // some of it stands, with another size
      EXPECT(both[0] == 20 && both[1] == 17 && both[2] == 10);
      ++both[2];
    }
    for (unsigned i = 0; i < 10; ++i) ++*dsm::borrow_mut(&words[0]);
    auto both = dsm::borrow_shared(std::span<const std::uint64_t>(words, 3));
    EXPECT(both[0] == 30 && both[1] == 17 && both[2] == 11);
  }
  meet();
  EXPECT(*dsm::borrow_shared(&words[0]) == 30 && *dsm::borrow_shared(&words[1]) == 17);
  EXPECT(words[2] == 11);
  meet();
}

// Two small blocks in one granule: the one is freed while node 1 changes the other, and when node 1 alone has changed
// that many times.
void neighbour_freed() {
  using Pair = std::array<std::uint64_t*, 2>;
  auto* pair = shared<Pair>("pair", [] {
    auto* made = block<Pair>(1);
    std::vector<std::uint64_t*> blocks;
    for (;;) {
      auto* next = static_cast<std::uint64_t*>(dsm::alloc(16));
      EXPECT(next != nullptr);
      *next = 0;
      for (std::uint64_t* other : blocks) {
        if (reinterpret_cast<std::uintptr_t>(other) / 64 == reinterpret_cast<std::uintptr_t>(next) / 64) {
          *made = {other, next};
          return made;
        }
      }
      blocks.push_back(next);
    }
  });
  const Pair blocks = *pair;
  meet();
  for (unsigned round = 0; round < 2; ++round) {
    dsm::mut_ref<std::uint64_t> held;
    if (dsm::node() == 1) {
      for (unsigned i = 0; i < 10 * round; ++i) ++*dsm::borrow_mut(blocks[0]);
      if (round == 0) held = dsm::borrow_mut(blocks[0]);
    }
    meet();
    if (dsm::node() == 0) dsm::free(blocks[1]);
    meet();
    if (dsm::node() == 1 && round == 0) {
      *held = 100;
      held.release();
    }
    if (dsm::node() == 1) ++*dsm::borrow_mut(blocks[0]);
    meet();
    for (unsigned n = 0; n < dsm::nodes(); ++n) {
      if (n == dsm::node()) ++*dsm::borrow_mut(blocks[0]);
      meet();
    }
    EXPECT(*dsm::borrow_shared(blocks[0]) == 103 + 13 * round);
    meet();
    if (dsm::node() == 0 && round == 0) EXPECT(dsm::alloc(16) == blocks[1]);  // for the second round
    meet();
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run({{"alone", alone},
              {"by_turns", by_turns},
              {"room", room},
              {"sizes", sizes},
              {"neighbours", neighbours},
              {"neighbour_freed", neighbour_freed},
              {"several_homes", several_homes}},
             argc, argv);
}
