// Calls that go to the object, between real processes, one check by name: placed_calls_node NAME.
#include <dsm/atomic.h>
#include <dsm/delegate.h>
#include <dsm/spawn.h>

#include <thread>
#include <vector>

#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

struct Counter {
  std::uint64_t value = 0;
  std::uint64_t pad[7]{};
};
struct Log {
  std::uint64_t last[64]{};  // by caller
  std::uint64_t wrong = 0;
  std::uint64_t calls = 0;
};
struct Big {
  std::uint64_t words[400]{};
};

std::uint64_t add(Counter& counter, std::uint64_t by) { return counter.value += by; }

void on_threads(const std::function<void(unsigned)>& work) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 2; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
}

// Blocks of counters on every node, in object memory or in plain memory.
std::vector<Counter*> counters(std::size_t count, bool plain) {
  std::vector<Counter*> all;
  for (unsigned home = 0; home < dsm::nodes(); ++home) {
    const std::string name = "counters " + std::to_string(home) + (plain ? " plain" : "");
    all.push_back(shared<Counter>(name.c_str(), [&] { return block<Counter>(count, dsm::on_node(home)); }));
  }
  return all;
}

void results() {
  auto* counter = shared<Counter>("counter", [] { return dsm::make_object_on<Counter>(dsm::nodes() - 1); });
  meet();
  on_threads([&](unsigned) {
    std::uint64_t before = 0;
    for (std::uint64_t i = 0; i < 200; ++i) {
      const std::uint64_t now = dsm::call_at(counter, &add, std::uint64_t{2});
      EXPECT(now >= before + 2);
      before = now;
      dsm::call_at(counter, [](Counter& c) { ++c.pad[0]; });
    }
  });
  meet();
  EXPECT(dsm::borrow_shared(counter)->value == 800 * dsm::nodes());
  EXPECT(dsm::call_at(counter, [](Counter& c) { return c.pad[0]; }) == 400 * dsm::nodes());
  auto* big = shared<Big>("big", [] { return dsm::make_object_on<Big>(0); });
  Big mine;
  for (std::uint64_t i = 0; i < 400; ++i) mine.words[i] = i * dsm::node();
  meet();
  dsm::call_at(
      counter,
      [](Counter& c, std::uint64_t a, const char(*)[3], double b) { c.pad[1] = a + static_cast<std::uint64_t>(b); },
      std::uint64_t{1}, static_cast<const char(*)[3]>(nullptr), 2.0);
  const Big seen = dsm::call_at(
      big,
      [](Big& b, std::uint64_t by) {
        b.words[399] += by;
        return b;
      },
      std::uint64_t{1});
  EXPECT(seen.words[399] >= 1 && seen.words[0] == 0);
  struct Many {
    std::uint64_t words[60];
  };
  Many many{};
  many.words[59] = 5;
  EXPECT(dsm::call_at(
             big,
             [](Big& b, Many m) {
               b.words[7] = 7;
               return m.words[59];
             },
             many) == 5);
  meet();
  EXPECT(dsm::borrow_shared(big)->words[399] == dsm::nodes() && dsm::borrow_shared(big)->words[7] == 7);
}

std::uint64_t doubled(std::uint64_t value) { return 2 * value; }
std::uint64_t tripled(std::uint64_t value) noexcept { return 3 * value; }

// Among the arguments, a function is the same on every node, although its address is not.
void functions() {
  using Function = std::uint64_t (*)(std::uint64_t);
  static_assert(!dsm::travels<Function> && !dsm::travels<Function[2]> && !dsm::travels<std::size_t (Big::*)()>);
  static_assert(dsm::travels<int Counter::*> && dsm::travels<Function*>);  // a distance, and data
  auto* counter = shared<Counter>("counter", [] { return dsm::make_object_on<Counter>(dsm::nodes() - 1); });
  meet();
  const auto apply = [](Counter& c, std::uint64_t to, Function one, Function other) {
    c.value += one(to);
    return other == nullptr ? c.value : other(c.value);
  };
  for (int i = 0; i < 10; ++i) {
    EXPECT(dsm::call_at(counter, apply, std::uint64_t{1}, Function{&doubled}, Function{nullptr}) >= 2);
    EXPECT(dsm::call_at(counter, apply, std::uint64_t{0}, Function{&doubled}, Function{&tripled}) >= 6);
    dsm::call_at_async(counter, apply, std::uint64_t{5}, Function{&doubled}, Function{nullptr});
  }
  dsm::flush();
  for (unsigned to = 0; to < dsm::nodes(); ++to) {
    EXPECT(dsm::spawn_on(
               to, [](Function f, std::uint64_t value) { return f(value); }, &doubled, 7U)
               .get() == 14);
    EXPECT(dsm::spawn_on(to, &tripled, 7U).get() == 21);
  }
  meet();
  EXPECT(dsm::borrow_shared(counter)->value == 120 * dsm::nodes());
}

// Many posted calls at once, at random, small objects that share granules and large ones.
void posted() {
  constexpr std::size_t kCount = 500;
  constexpr std::uint64_t kCalls = 20'000;
  const auto all = counters(kCount, true);
  meet();
  on_threads([&](unsigned thread) {
    std::uint64_t random = dsm::node() * 2 + thread + 1;
    for (std::uint64_t i = 0; i < kCalls; ++i) {
      random = random * 6364136223846793005U + 1442695040888963407U;
      auto* one = &all[(random >> 33) % dsm::nodes()][(random >> 45) % kCount];
      dsm::call_at_async(
          one, [](Counter& c, std::uint64_t by) { c.value += by; }, std::uint64_t{1});
      dsm::call_at_async(&one->pad[i % 7], [](std::uint64_t& word) { ++word; });
      if (i % 3 == 0) dsm::call_at_async(one, &add, std::uint64_t{0});
    }
    dsm::flush();
  });
  meet();
  std::uint64_t sum = 0, pads = 0;
  for (const Counter* block : all) {
    for (std::size_t i = 0; i < kCount; ++i) {
      const auto seen = dsm::borrow_shared(&block[i]);
      sum += seen->value;
      for (const std::uint64_t pad : seen->pad) pads += pad;
    }
  }
  EXPECT(sum == kCalls * 2 * dsm::nodes() && pads == sum);
}

// The calls of one thread on one object come in order, whatever holds the object meanwhile.
void in_order() {
  auto* order = shared<Log>("log", [] { return dsm::make_object_on<Log>(0); });
  meet();
  on_threads([&](unsigned thread) {
    const std::uint64_t me = dsm::node() * 2 + thread;
    for (std::uint64_t i = 1; i <= 3000; ++i) {
      dsm::call_at_async(
          order,
          [](Log& log, std::uint64_t who, std::uint64_t number) {
            log.wrong += log.last[who] + 1 == number ? 0 : 1;
            log.last[who] = number;
            ++log.calls;
          },
          me, i);
      if (i % 100 == 0)
        EXPECT(dsm::call_at(
                   order, [](Log& log, std::uint64_t who) { return log.last[who]; }, me) == i);
      if (i % 64 == 0) {
        dsm::flush();
        auto held = dsm::borrow_mut(order);
        EXPECT(held->last[me] == i);
        if (i % 128 == 0) std::this_thread::yield();
      }
    }
    dsm::flush();
  });
  meet();
  EXPECT(dsm::borrow_shared(order)->wrong == 0);
  EXPECT(dsm::borrow_shared(order)->calls == 6000 * dsm::nodes());
}

// While one node holds the object, calls on it wait, and those on others go on.
void held() {
  auto* two = shared<Counter>("two", [] { return block<Counter>(2, dsm::on_node(dsm::nodes() - 1)); });
  meet();
  if (dsm::node() == 0) {
    {
      auto mine = dsm::borrow_mut(&two[0]);
      meet();
      meet();  // the others have posted, and their calls on the second have run
      EXPECT(dsm::call_at(&two[1], [](Counter& c) { return c.value; }) == 100 * (dsm::nodes() - 1));
      EXPECT(mine->value == 0);
      mine->value = 1000;
    }
    meet();
  } else {
    meet();
    for (int i = 0; i < 100; ++i) dsm::call_at_async(&two[0], &add, std::uint64_t{1});
    std::thread([&] {
      for (int i = 0; i < 100; ++i) dsm::call_at_async(&two[1], &add, std::uint64_t{1});
    }).join();
    meet();
    dsm::flush();
    meet();
  }
  EXPECT(dsm::call_at(&two[0], [](Counter& c) { return c.value; }) == 1000 + 100 * (dsm::nodes() - 1));
}

// Plain stores, atomics and borrows beside calls on the same page.
void mixed() {
  const auto all = counters(8, true);
  meet();
  for (std::uint64_t i = 0; i < 60; ++i) {
    for (Counter* block : all) {
      dsm::call_at_async(&block[0], &add, std::uint64_t{1});
      dsm::borrow_mut(&block[0])->pad[0] += 1;
      reinterpret_cast<std::atomic<std::uint64_t>*>(&block[0].pad[1])->fetch_add(1);
      reinterpret_cast<dsm::atomic<std::uint64_t>*>(&block[1].value)->fetch_add(1);
      volatile std::uint64_t& own = block[2].pad[dsm::node()];
      own = own + 1;
    }
    if (i % 8 == 0) dsm::flush();
  }
  dsm::flush();
  meet();
  for (Counter* block : all) {
    const std::uint64_t expected = 60 * dsm::nodes();
    EXPECT(dsm::borrow_shared(&block[0])->value == expected);
    EXPECT(block[0].value == expected && block[0].pad[0] == expected);
    EXPECT(block[1].value == expected && block[2].pad[dsm::node()] == 60);
  }
}

// A thread waits for what it has posted while it has borrowed something that none of that waits for.
void beside_a_borrow() {
  const auto all = counters(2, false);
  meet();
  for (std::uint64_t i = 0; i < 30; ++i) {
    for (Counter* counter : all) dsm::call_at_async(&counter[0], &add, std::uint64_t{1});
    const auto held = dsm::borrow_mut(&all[i % all.size()][1]);
    dsm::flush();
    ++held->value;
  }
  for (std::uint64_t i = 0; i < 30; ++i) {
    dsm::call_at_async(all[0], &add, std::uint64_t{1});
    dsm::flush();
    const auto held = dsm::borrow_mut(all[0]);  // just the one, after its calls
    dsm::flush();
  }
  meet();
  EXPECT(dsm::borrow_shared(all[0])->value == 60 * dsm::nodes());
}

// What a thread has posted goes out at its end.
void thread_end() {
  const auto all = counters(1, false);
  meet();
  std::thread([&] {
    for (Counter* counter : all) dsm::call_at_async(counter, &add, std::uint64_t{1});
  }).join();
  meet();
  for (const Counter* counter : all) EXPECT(dsm::borrow_shared(counter)->value == dsm::nodes());
}

}  // namespace

int main(int argc, char** argv) {
  return run({{"results", results},
              {"functions", functions},
              {"posted", posted},
              {"in_order", in_order},
              {"held", held},
              {"mixed", mixed},
              {"beside_a_borrow", beside_a_borrow},
              {"thread_end", thread_end}},
             argc, argv);
}
