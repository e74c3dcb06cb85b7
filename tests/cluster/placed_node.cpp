// Guarded values and atomics between real processes, one check by name: placed_node NAME.
#include <dsm/atomic.h>
#include <dsm/guarded.h>

#include <thread>
#include <vector>

#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

constexpr int kThreads = 2;
constexpr std::uint64_t kTimes = 300;

void on_threads(const std::function<void()>& work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
}

struct Pair {
  std::uint64_t one = 0, two = 0;
  std::uint64_t pad[30]{};
};

// Both words change together, whoever looks; all the changes are there in the end.
void guarded() {
  auto* pair =
      shared<dsm::guarded<Pair>>("pair", [] { return dsm::make_object_on<dsm::guarded<Pair>>(dsm::nodes() - 1); });
  auto* plain = shared<dsm::guarded<Pair>>("plain", [] { return dsm::make<dsm::guarded<Pair>>(); });
  meet();
  on_threads([&] {
    for (std::uint64_t i = 0; i < kTimes; ++i) {
      for (auto* each : {pair, plain}) {
        each->with([](Pair& value) {
          EXPECT(value.one == value.two);
          ++value.one;
          ++value.two;
        });
        const auto seen = each->read();
        EXPECT(seen->one == seen->two && seen->one > i);
      }
    }
  });
  meet();
  EXPECT(pair->lock()->one == kTimes * kThreads * dsm::nodes());
  EXPECT(plain->with([](const Pair& value) { return value.two; }) == kTimes * kThreads * dsm::nodes());
  meet();
  if (dsm::node() == 0) {
    dsm::destroy_object(pair);
    dsm::destroy(plain);
  }
}

// A lock that is taken again by its own node, and by plain access in between.
void guarded_and_plain() {
  struct Both {
    dsm::guarded<std::uint64_t> value{0U};
    std::uint64_t beside = 0;
  };
  auto* both = shared<Both>("both", [] { return dsm::make<Both>(); });
  for (unsigned turn = 0; turn < 4 * dsm::nodes(); ++turn) {
    meet();
    if (turn % dsm::nodes() != dsm::node()) continue;
    EXPECT(both->beside == turn);
    auto held = both->value.lock();
    EXPECT(*held == turn);
    *held += 1;
    held.release();
    both->beside = turn + 1;
    EXPECT(*reinterpret_cast<const volatile std::uint64_t*>(&both->value) == turn + 1);
  }
}

struct Words {
  dsm::atomic<std::uint64_t> sum{0};
  dsm::atomic<std::int64_t> down{0};
  dsm::atomic<std::uint64_t> bits{0};
  dsm::atomic<std::uint64_t> odd{0};
  dsm::atomic<std::uint64_t> tries{0};
  dsm::atomic<double> real{1.5};
  dsm::atomic<Words*> last{nullptr};
};

void atomics() {
  for (unsigned home = 0; home < dsm::nodes(); ++home) {
    const std::string name = "words " + std::to_string(home);
    auto* words = shared<Words>(name.c_str(), [&] { return dsm::make_object_on<Words>(home); });
    meet();
    on_threads([&] {
      for (std::uint64_t i = 0; i < kTimes; ++i) {
        words->sum.fetch_add(3);
        words->down.fetch_sub(2);
        words->bits.fetch_or(std::uint64_t{1} << (i % 60));
        words->odd.fetch_xor(1);
        for (std::uint64_t seen = words->tries.load(); !words->tries.compare_exchange(seen, seen + 1);) {
        }
      }
    });
    meet();
    const std::uint64_t all = kTimes * kThreads * dsm::nodes();
    EXPECT(words->sum.load() == 3 * all && words->down.load() == -2 * static_cast<std::int64_t>(all));
    EXPECT(words->bits.load() == (std::uint64_t{1} << 60) - 1 && words->odd.load() == 0 && words->tries.load() == all);
    EXPECT(words->real.load() == 1.5);
    meet();
    if (words->last.exchange(words + dsm::node()) == nullptr) words->bits.fetch_and(~std::uint64_t{1});
    meet();
    EXPECT((words->bits.load() & 3) == 2);
    words->last.store(words);
    meet();
    words->last.fetch_add(1);
    meet();
    EXPECT(words->last.load() == words + dsm::nodes());
    meet();
    if (dsm::node() == 0) dsm::destroy_object(words);
  }
}

// Plain access, std::atomic and dsm::atomic see each other.
void atomics_and_plain() {
  auto* word = shared<dsm::atomic<std::uint64_t>>("word", [] { return dsm::make<dsm::atomic<std::uint64_t>>(7U); });
  auto* plain = reinterpret_cast<std::atomic<std::uint64_t>*>(word);
  meet();
  EXPECT(plain->load() == 7);
  meet();
  for (int i = 0; i < 50; ++i) {
    word->fetch_add(1);
    plain->fetch_add(1);
  }
  meet();
  EXPECT(word->load() == 7 + 100 * dsm::nodes());
  EXPECT(plain->load() == 7 + 100 * dsm::nodes());
}

}  // namespace

int main(int argc, char** argv) {
  return run({{"guarded", guarded},
              {"guarded_and_plain", guarded_and_plain},
              {"atomics", atomics},
              {"atomics_and_plain", atomics_and_plain}},
             argc, argv);
}
