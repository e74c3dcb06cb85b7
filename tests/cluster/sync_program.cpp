// One synchronisation test as a program for all nodes: sync_program <what>. Each node runs kThreads threads. The job's
// status is 0 if all was as it should be.
#include <cstdint>
#include <cstring>
#include <mutex>
#include <shared_mutex>

#include "tests/cluster/sync_world.h"

namespace dsm::sync_test {
namespace {

constexpr unsigned kThreads = 2;

unsigned all_threads() { return dsm::nodes() * kThreads; }

struct Common {
  explicit Common(std::size_t parties) : all(parties) {}
  dsm::barrier all;
  dsm::mutex mutex;
  alignas(kPlacePage) std::uint64_t counter = 0;
};

// --- mutex ----------------------------------------------------------------------------------------------------------

void exact_count() {
  constexpr unsigned kRounds = 1000;
  auto& world = shared_world<Common>("world", all_threads());
  on_threads(kThreads, [&](unsigned) {
    world.all.arrive_and_wait();
    for (unsigned round = 0; round < kRounds; ++round) {
      const std::lock_guard guard(world.mutex);
      ++world.counter;
    }
    world.all.arrive_and_wait();
    expect(world.counter == std::uint64_t{kRounds} * all_threads(), "the counter is exact");
  });
  std::printf("node %u: counted %lu\n", dsm::node(), static_cast<unsigned long>(world.counter));
}

// All contend until every node has had its turns; were one starved, this would never end.
struct Turns : Common {
  using Common::Common;
  std::uint64_t hungry = 0;  // the next three under mutex
  std::uint64_t turns[64] = {};
};

void fair() {
  constexpr unsigned kTurns = 50;
  auto& world = shared_world<Turns>("world", all_threads());
  if (dsm::node() == 0) world.hungry = dsm::nodes();
  on_threads(kThreads, [&](unsigned) {
    world.all.arrive_and_wait();
    for (bool more = true; more;) {
      const std::lock_guard guard(world.mutex);
      more = world.hungry != 0;
      if (more && ++world.turns[dsm::node()] == kTurns) --world.hungry;
    }
  });
  std::printf("node %u: %lu turns\n", dsm::node(), static_cast<unsigned long>(world.turns[dsm::node()]));
}

// A node that asks by try_lock gets the lock when its holder has given it up.
void try_lock() {
  auto& world = shared_world<Common>("world", dsm::nodes());
  if (dsm::node() == 0) world.mutex.lock();
  world.all.arrive_and_wait();
  if (dsm::node() != 0) expect(!world.mutex.try_lock(), "try_lock of a held mutex fails");
  world.all.arrive_and_wait();
  if (dsm::node() == 0) world.mutex.unlock();
  while (!world.mutex.try_lock()) std::this_thread::yield();
  world.counter += 1;
  world.mutex.unlock();
  world.all.arrive_and_wait();
  expect(world.counter == dsm::nodes(), "everybody had it once");
}

// --- shared_mutex ---------------------------------------------------------------------------------------------------

struct Shared : Common {
  using Common::Common;
  dsm::shared_mutex lock;
  alignas(kPlacePage) volatile std::uint64_t first = 0;  // written together, on two pages
  alignas(kPlacePage) volatile std::uint64_t second = 0;
};

// Nobody leaves before all are in.
void readers_together() {
  auto& world = shared_world<Shared>("world", all_threads());
  on_threads(kThreads, [&](unsigned number) {
    for (unsigned round = 0; round < 30; ++round) {
      if (number == round % all_threads()) {
        const std::lock_guard guard(world.lock);
        world.first = world.first + 1;
      }
      world.all.arrive_and_wait();
      const std::shared_lock guard(world.lock);
      world.all.arrive_and_wait();
      expect(world.first == round + 1, "readers see what was written before");
    }
  });
}

void writers_alone() {
  constexpr unsigned kRounds = 300;
  auto& world = shared_world<Shared>("world", all_threads());
  on_threads(kThreads, [&](unsigned number) {
    world.all.arrive_and_wait();
    for (unsigned round = 0; round < kRounds; ++round) {
      if ((round + number) % 4 == 0) {
        const std::lock_guard guard(world.lock);
        expect(world.first == world.second, "a writer is alone");
        world.first = world.first + 1;
        world.second = world.second + 1;
      } else {
        const std::shared_lock guard(world.lock);
        expect(world.first == world.second, "readers see no writer's work half done");
      }
    }
    world.all.arrive_and_wait();
    expect(world.first == std::uint64_t{kRounds} / 4 * all_threads(), "all was written");
  });
}

// --- condition_variable ---------------------------------------------------------------------------------------------

struct Queue : Common {
  using Common::Common;
  static constexpr unsigned kRoom = 4;
  dsm::condition_variable not_empty, not_full;
  std::uint64_t put = 0, taken = 0, sum = 0;
  std::uint64_t items[kRoom] = {};
};

// The first thread of each node produces, the second consumes.
void queue() {
  constexpr std::uint64_t kItems = 150;
  auto& world = shared_world<Queue>("world", all_threads());
  on_threads(kThreads, [&](unsigned number) {
    for (std::uint64_t item = 1; item <= kItems; ++item) {
      std::unique_lock lock(world.mutex);
      if (number % kThreads == 0) {
        world.not_full.wait(lock, [&] { return world.put - world.taken < Queue::kRoom; });
        world.items[world.put++ % Queue::kRoom] = item;
        lock.unlock();
        world.not_empty.notify_one();
      } else {
        world.not_empty.wait(lock, [&] { return world.put != world.taken; });
        world.sum += world.items[world.taken++ % Queue::kRoom];
        lock.unlock();
        world.not_full.notify_one();
      }
    }
    world.all.arrive_and_wait();
    expect(world.sum == dsm::nodes() * kItems * (kItems + 1) / 2, "every item was taken once");
  });
}

void timeout() {
  using namespace std::chrono_literals;
  auto& world = shared_world<Queue>("world", dsm::nodes());
  std::unique_lock lock(world.mutex);
  expect(!world.not_empty.wait_for(lock, 20ms), "nobody notifies: a timeout");
  expect(!world.not_empty.wait_for(lock, -1ns), "no time at all: a timeout");
  lock.unlock();
  world.all.arrive_and_wait();
  lock.lock();
  if (dsm::node() == 0) {
    ++world.put;
    lock.unlock();
    world.not_empty.notify_all();
  } else {
    while (world.put == 0) expect(world.not_empty.wait_for(lock, 1h), "notified, so no timeout");
    lock.unlock();
  }
  world.all.arrive_and_wait();
}

// --- barrier, semaphore, once ---------------------------------------------------------------------------------------

struct Phases : Common {
  using Common::Common;
  std::uint64_t phase[128] = {};
};

void phases() {
  auto& world = shared_world<Phases>("world", all_threads());
  on_threads(kThreads, [&](unsigned number) {
    for (std::uint64_t phase = 1; phase <= 100; ++phase) {
      world.phase[number] = phase;
      world.all.arrive_and_wait();
      for (unsigned other = 0; other < all_threads(); ++other) {
        expect(world.phase[other] == phase, "nobody is a phase behind or ahead");
      }
      world.all.arrive_and_wait();
    }
  });
}

struct Bounded : Common {
  static constexpr int kBound = 2;
  explicit Bounded(std::size_t parties) : Common(parties), tokens(kBound) {}
  dsm::counting_semaphore tokens;
  std::atomic<int> inside{0};
};

void bound() {
  auto& world = shared_world<Bounded>("world", all_threads());
  on_threads(kThreads, [&](unsigned number) {
    for (unsigned round = 0; round < 100; ++round) {
      world.tokens.acquire();
      expect(world.inside.fetch_add(1) < Bounded::kBound, "no more than the bound are inside");
      world.inside.fetch_sub(1);
      world.tokens.release();
    }
    world.all.arrive_and_wait();
    if (number == 1) {
      expect(world.tokens.try_acquire() && world.tokens.try_acquire(), "all tokens are back");
      expect(!world.tokens.try_acquire(), "and no more than all");
      world.tokens.release(Bounded::kBound);
    }
    world.all.arrive_and_wait();
  });
}

struct Onces : Common {
  using Common::Common;
  static constexpr unsigned kFlags = 40;
  dsm::once_flag flag[kFlags];
  std::uint64_t runs[kFlags] = {};
};

void once() {
  auto& world = shared_world<Onces>("world", all_threads());
  on_threads(kThreads, [&](unsigned number) {
    world.all.arrive_and_wait();
    for (int again = 0; again < 2; ++again) {
      for (unsigned i = 0; i < Onces::kFlags; ++i) {
        const unsigned flag = (i + number) % Onces::kFlags;
        dsm::call_once(world.flag[flag], [&] { ++world.runs[flag]; });
        expect(world.runs[flag] == 1, "it has run, and once");
      }
    }
  });
}

// A node that does not hold the lock unlocks it.
void foreign_unlock() {
  auto& world = shared_world<Common>("world", dsm::nodes());
  if (dsm::node() == 0) world.mutex.lock();
  world.all.arrive_and_wait();
  if (dsm::node() == 1) world.mutex.unlock();
  world.all.arrive_and_wait();
}

struct Test {
  const char* name;
  void (*run)();
};
constexpr Test kTests[] = {
    {"exact_count", exact_count},
    {"fair", fair},
    {"try_lock", try_lock},
    {"readers_together", readers_together},
    {"writers_alone", writers_alone},
    {"queue", queue},
    {"timeout", timeout},
    {"phases", phases},
    {"bound", bound},
    {"once", once},
    {"foreign_unlock", foreign_unlock},
};

int run(const char* name) {
  for (const Test& test : kTests) {
    if (std::strcmp(test.name, name) != 0) continue;
    if (dsm::start()) return 2;
    test.run();
    return 0;
  }
  std::fprintf(stderr, "sync_program: no test named %s\n", name);
  return 2;
}

}  // namespace
}  // namespace dsm::sync_test

int main(int argc, char** argv) { return argc == 2 ? dsm::sync_test::run(argv[1]) : 2; }
