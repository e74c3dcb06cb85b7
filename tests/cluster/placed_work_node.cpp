// Functions spawned on other nodes, and channels, between real processes, one check by name: placed_work_node NAME.
#include <dsm/atomic.h>
#include <dsm/channel.h>
#include <dsm/delegate.h>
#include <dsm/spawn.h>
#include <unistd.h>

#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

struct Big {
  std::uint64_t words[300]{};
};
long add(long a, long b) { return a + b; }
unsigned last() { return dsm::nodes() - 1; }

void values() {
  for (unsigned to = 0; to < dsm::nodes(); ++to) {
    EXPECT(dsm::spawn_on(to, &add, 2L, 3L).get() == 5);
    EXPECT(dsm::spawn_on(to, [] { return dsm::node(); }).get() == to);
    dsm::spawn_on(to, [] {}).get();
    Big big;
    big.words[299] = 9;
    EXPECT(dsm::spawn_on(
               to,
               [](Big b) {
                 ++b.words[299];
                 return b;
               },
               big)
               .get()
               .words[299] == 10);
    auto dropped = dsm::spawn_on(
        to, [](Big b) { return b; }, big);
  }
}

void owners() {
  auto owner = dsm::make_owned<Big>();
  for (unsigned to = 0; to < dsm::nodes(); ++to) {
    auto moved = dsm::spawn_on(
        to,
        [](dsm::own_ptr<Big> o) {
          ++dsm::borrow_mut(o)->words[1];
          return o;
        },
        std::move(owner));
    owner = moved.get();
    EXPECT(node_test::is_of(owner.home(), to) && !(moved));
  }
  EXPECT(dsm::borrow_shared(owner)->words[1] == dsm::nodes());
  EXPECT(node_test::is_of(owner.home(), dsm::spawn_to(owner, [] { return dsm::node(); }).get()));
}

// More functions that wait for each other than a node has processors.
void blocking() {
  constexpr std::uint64_t kMany = 12;
  using Count = dsm::atomic<std::uint64_t>;
  auto* count = dsm::make_object<Count>(0U);
  std::vector<dsm::future<void>> all;
  for (std::uint64_t i = 0; i < kMany; ++i) {
    all.push_back(dsm::spawn_on(
        last(),
        [](Count* c) {
          c->fetch_add(1);
          while (c->load() < kMany) std::this_thread::yield();
        },
        count));
  }
  for (auto& one : all) one.get();
  EXPECT(count->load() == kMany);
  EXPECT(dsm::spawn_on(last(), [] { return dsm::spawn_on(0, &add, 1L, 1L).get(); }).get() == 2);
  dsm::destroy_object(count);
}

// More results that nobody has asked for than a node has requests, of threads that spawn and collect in other orders.
void many() {
  constexpr long kMany = 3000;
  const auto spawn_and_collect = [](bool last_first) {
    std::vector<dsm::future<long>> all;
    for (long i = 0; i < kMany; ++i) all.push_back(dsm::spawn_on(last(), &add, i, 1L));
    if (last_first) std::reverse(all.begin(), all.end());
    long sum = 0;
    for (auto& one : all) sum += one.get();
    EXPECT(sum == kMany * (kMany + 1) / 2);
  };
  std::thread other(spawn_and_collect, true);
  spawn_and_collect(false);
  other.join();
}

void failures() {
  auto failed = dsm::spawn_on(last(), []() -> int { throw std::runtime_error("no luck"); });
  EXPECT(failed.failure() == "no luck");
  auto other = dsm::spawn_on(last(), [] { throw 5; });
  EXPECT(other.failure().has_value());
  EXPECT(!dsm::spawn_on(last(), &add, 1L, 1L).failure().has_value());
}

template <typename T>
dsm::channel<T>* channel(const char* name, std::size_t capacity) {
  return shared<dsm::channel<T>>(name, [=] { return dsm::make<dsm::channel<T>>(capacity); });
}

// Every value arrives once; each sender's in its order at each receiver.
template <typename T>
void stream(const char* name, std::size_t capacity) {
  constexpr std::uint64_t kEach = 300;
  auto* values = channel<T>(name, capacity);
  auto* sum = shared<dsm::atomic<std::uint64_t>>((std::string(name) + " sum").c_str(),
                                                 [] { return dsm::make_object<dsm::atomic<std::uint64_t>>(0U); });
  meet();
  std::thread receiver([&] {
    std::vector<std::uint64_t> seen(dsm::nodes());
    while (const auto value = values->receive()) {
      const auto [from, number] = std::pair((*value).words[0], (*value).words[1]);
      EXPECT(number > seen[from]);
      seen[from] = number;
      sum->fetch_add(number);
    }
  });
  for (std::uint64_t i = 1; i <= kEach; ++i) {
    T value{};
    value.words[0] = dsm::node();
    value.words[1] = i;
    EXPECT(values->send(value));
  }
  meet();
  if (dsm::node() == 0) values->close();
  receiver.join();
  T late{};
  EXPECT(!values->send(late));
  meet();
  EXPECT(sum->load() == dsm::nodes() * kEach * (kEach + 1) / 2);
  meet();
  if (dsm::node() == 0) dsm::destroy(values);
}

void streams() {
  struct Small {
    std::uint64_t words[2];
  };
  stream<Small>("small", 4);
  stream<Big>("big", 1);
}

// Owners go round; those left in it are freed with it.
void owned_values() {
  auto* owners = channel<dsm::own_ptr<Big>>("owners", 8);
  meet();
  auto mine = dsm::make_owned<Big>();
  dsm::borrow_mut(mine)->words[0] = dsm::node() + 1;
  EXPECT(owners->send(std::move(mine)) && !mine);
  meet();
  auto other = owners->receive();
  EXPECT(other && dsm::borrow_shared(*other)->words[0] != 0);
  EXPECT(owners->send(std::move(*other)));
  meet();
  if (dsm::node() != 0) return;
  EXPECT(owners->try_receive().has_value());
  dsm::destroy(owners);
}

// The last node ends while others have work there.
void killed() {
  meet();
  if (dsm::node() == last()) {
    std::printf("pid %d\n", static_cast<int>(::getpid()));
    std::fflush(stdout);
  }
  auto* word = shared<std::uint64_t>("word", [] { return block<std::uint64_t>(1, dsm::on_node(last())); });
  if (dsm::node() == last()) {
    for (;;) ::pause();
  }
  for (;;) {
    dsm::spawn_on(last(), [] { std::this_thread::yield(); }).get();
    for (int i = 0; i < 5000; ++i) dsm::call_at_async(word, [](std::uint64_t& w) { ++w; });
    dsm::flush();
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run({{"values", values},
              {"owners", owners},
              {"blocking", blocking},
              {"many", many},
              {"failures", failures},
              {"streams", streams},
              {"owned_values", owned_values},
              {"killed", killed}},
             argc, argv);
}
