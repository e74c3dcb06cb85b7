// <dsm/containers.h> between real processes, one check by name: placed_containers_node NAME.
#include <dsm/channel.h>
#include <dsm/containers.h>

#include <set>
#include <string>
#include <thread>

#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

void vectors() {
  dsm::vector<std::uint64_t> values;
  for (std::uint64_t i = 0; i < 1000; ++i) values.push_back(i);
  for (unsigned to = 0; to < dsm::nodes(); ++to) {
    values = dsm::spawn_on(
                 to,
                 [](dsm::vector<std::uint64_t> v) {
                   const std::uint64_t size = v.size();
                   v.push_back(size);
                   v.edit()[0] += 1;
                   return v;
                 },
                 std::move(values))
                 .get();
  }
  EXPECT(values.size() == 1000 + dsm::nodes() && values.at(0) == dsm::nodes());
  const auto all = values.view();
  for (std::uint64_t i = 1; i < values.size(); ++i) EXPECT(all[i] == i);
  EXPECT(dsm::vector<int>().view().size() == 0 && dsm::vector<int>().copy().empty());
}

// Its guards give the elements, not the room for more.
void ends_of_vectors() {
  const std::vector<int> three{1, 2, 3};
  dsm::vector<int> values{std::span<const int>(three)};
  values.reserve(100);
  values.pop_back();
  EXPECT(values.capacity() == 100 && values.size() == 2);
  EXPECT(values.view().size() == 2);
  EXPECT(values.edit().size() == 2);
  EXPECT(values.copy() == std::vector<int>({1, 2}));
  int sum = 0;
  for (const int one : values.view()) sum += one;
  EXPECT(sum == 3);
  values.push_back(7);
  EXPECT(values.at(2) == 7);
  EXPECT(values.view().end()[-1] == 7);
  while (!values.empty()) values.pop_back();
  EXPECT(values.capacity() == 100 && values.copy().empty());
  EXPECT(values.view().size() == 0);
  EXPECT(values.edit().size() == 0);
  values.append(three);
  EXPECT(values.copy() == three);
}

void strings() {
  dsm::string text("abc");
  text += "def";
  text.send_to(dsm::nodes() - 1);
  EXPECT(text == "abcdef" && text.size() == 6);
  const auto longer = dsm::spawn_on(
                          0,
                          [](dsm::string s) {
                            s += "!";
                            return s;
                          },
                          std::move(text))
                          .get();
  EXPECT(longer.str() == "abcdef!");
}

// All nodes and threads change the same few entries and their own many ones.
void maps() {
  using Map = dsm::unordered_map<std::uint64_t, std::uint64_t>;
  auto* map = shared<Map>("map", [] { return dsm::make<Map>(200U); });  // too small on purpose: buckets overflow
  meet();
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < 2; ++thread) {
    threads.emplace_back([=] {
      const std::uint64_t me = dsm::node() * 2 + thread + 1;
      for (std::uint64_t i = 0; i < 300; ++i) {
        map->update(i % 7, [](std::uint64_t& value) { ++value; });
        map->insert_or_assign(me << 32 | i, i);
        EXPECT(map->find(me << 32 | i) == i);
        if (i % 3 == 0) EXPECT(map->erase(me << 32 | i));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  meet();
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < 7; ++i) sum += map->find(i).value_or(0);
  EXPECT(sum == 600 * dsm::nodes());
  EXPECT(!map->contains(std::uint64_t{1} << 32) && map->find(std::uint64_t{1} << 32 | 1) == 1);
  EXPECT(map->size() == 7 + 2 * 200 * dsm::nodes());
  EXPECT(!map->erase(12345));
  meet();
  if (dsm::node() == 0) dsm::destroy(map);
}

// Where the entries of a map have been, by what compares them: under a lock at the home that is in place.
std::set<const void*>& places() {
  static std::set<const void*> seen;
  return seen;
}
struct Key {
  std::uint64_t value;
  friend bool operator==(const Key& there, const Key& wanted) {
    places().insert(&there);
    return there.value == wanted.value;
  }
};
struct KeyHash {
  std::size_t operator()(const Key&) const { return 0; }
};

// However many entries come and go, a chain has room for those that are there at one time and hardly more.
void chains() {
  if (dsm::node() == 0) {
    using Map = dsm::unordered_map<Key, std::uint64_t, KeyHash>;
    auto* map = dsm::make<Map>(1U);
    const auto insert = [&](std::uint64_t i) { map->insert_or_assign({i}, i * 3); };
    constexpr std::uint64_t kThere = 100, kAll = 3000;
    for (std::uint64_t i = 0; i < kThere; ++i) insert(i);
    for (std::uint64_t i = kThere; i < kAll; ++i) {
      insert(i);
      EXPECT(map->erase({i - kThere}) && !map->erase({i - kThere}));
    }
    EXPECT(places().size() < 8 * kThere);
    EXPECT(map->size() == kThere);
    for (std::uint64_t i = kAll - kThere; i < kAll; ++i) EXPECT(map->find({i}) == i * 3);
    for (std::uint64_t i = kAll - 1; i >= kAll - kThere; --i) EXPECT(map->erase({i}));
    EXPECT(map->size() == 0 && !map->contains({kAll - 1}));
    insert(1);
    EXPECT(map->find({1}) == 3U);
    dsm::destroy(map);
  }
  meet();
}

// All nodes insert and erase in the same long chains.
void shared_chains() {
  using Map = dsm::unordered_map<std::uint64_t, std::uint64_t>;
  auto* map = shared<Map>("map", [] { return dsm::make<Map>(1U); });
  meet();
  for (std::uint64_t i = 0; i < 200; ++i) {
    const std::uint64_t mine = std::uint64_t{dsm::node()} << 32;
    map->insert_or_assign(mine | i, i);
    EXPECT(map->find(mine | i) == i);
    if (i >= 30) EXPECT(map->erase(mine | (i - 30)));
  }
  meet();
  EXPECT(map->size() == 30 * dsm::nodes());
  for (std::uint64_t n = 0; n < dsm::nodes(); ++n) {
    for (std::uint64_t i = 0; i < 200; ++i) EXPECT(map->contains(n << 32 | i) == (i >= 170));
  }
  meet();
  if (dsm::node() == 0) dsm::destroy(map);
}

void add_node(std::size_t index, std::uint64_t& value) { value += index + dsm::node(); }

void arrays() {
  using Array = dsm::dist_array<std::uint64_t>;
  static constexpr std::size_t kSize = 10'001;
  auto* array = shared<Array>("array", [] { return dsm::make<Array>(kSize); });
  meet();
  if (dsm::node() == 0) {
    array->for_each([](std::size_t index, std::uint64_t& value) { value += index + dsm::node(); });
    for (std::size_t i = 0; i < kSize; i += 97) EXPECT((*array)[i] == i + array->owner(i));
    array->for_each(&add_node);  // a function has another address on each node
    array->for_each([more = 5U](std::size_t, std::uint64_t& value) { value += more; });
    for (std::size_t i = 0; i < kSize; i += 97) EXPECT(*array->at(i) == 2 * (i + array->owner(i)) + 5);
    auto* none = dsm::make<Array>(0U);
    none->for_each(&add_node);
    EXPECT(none->size() == 0 && none->local().empty() && none->owner(0) == 0);
    dsm::destroy(none);
  }
  meet();
  const auto mine = array->local();
  EXPECT(mine.empty() || (node_test::is_of(dsm::home(mine.data()), dsm::node()) && array->at(0) != nullptr));
  meet();
  if (dsm::node() == 0) dsm::destroy(array);
}

// What is made and destroyed again and again uses no more memory than once: blocks come back.
void no_leaks() {
  if (dsm::node() == 0) {
    std::uint64_t first = 0;
    for (int round = 0; round < 300; ++round) {
      dsm::vector<std::uint64_t> values(std::vector<std::uint64_t>(20'000, 1));
      values.send_to(static_cast<unsigned>(round) % dsm::nodes());
      EXPECT(values.at(19'999) == 1);
      using Map = dsm::unordered_map<int, int>;
      auto* map = dsm::make<Map>(100U);
      for (int i = 0; i < 200; ++i) map->insert_or_assign(i, i);
      dsm::destroy(map);
      auto* channel = dsm::make<dsm::channel<dsm::vector<std::uint64_t>>>(4U);
      EXPECT(channel->send(std::move(values)));
      dsm::destroy(channel);
      auto probe = dsm::make_owned<std::uint64_t[]>(20'000U);
      const auto at = reinterpret_cast<std::uint64_t>(probe.address());
      if (round == 0) first = at;
      EXPECT(at < first + (std::uint64_t{32} << 20));  // 300 lost blocks would be 48 MB
    }
  }
  meet();
}

}  // namespace

int main(int argc, char** argv) {
  return run({{"vectors", vectors},
              {"ends_of_vectors", ends_of_vectors},
              {"strings", strings},
              {"maps", maps},
              {"chains", chains},
              {"shared_chains", shared_chains},
              {"arrays", arrays},
              {"no_leaks", no_leaks}},
             argc, argv);
}
