// The ten group-by queries, and the hash table that each worker gathers its groups in.
//
// A record is a group: the words of its key, then one number for each aggregate. What a worker has gathered of its rows
// is split by key into a part for each worker, which adds the parts up.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "bench/apps/dataframe/schema.h"

namespace app::frame {

template <unsigned... C>
struct By {
  static constexpr std::size_t kWords = (((sizeof(TypeOf<C>) + 7) / 8) + ... + 0);
};

template <unsigned C>
struct Sum {
  static constexpr unsigned kColumn = C;
  static constexpr std::int64_t kStart = 0;
  static void add(std::int64_t& all, std::int64_t value) { all += value; }
};
template <unsigned C>
struct Min {
  static constexpr unsigned kColumn = C;
  static constexpr std::int64_t kStart = std::numeric_limits<std::int64_t>::max();
  static void add(std::int64_t& all, std::int64_t value) { all = std::min(all, value); }
};

template <typename Group, typename... Terms>
struct Query;

template <unsigned... C, typename... Terms>
struct Query<By<C...>, Terms...> {
  // The columns that it reads.
  using Columns = std::integer_sequence<unsigned, C..., Terms::kColumn...>;

  struct Record {
    std::array<std::uint64_t, By<C...>::kWords> key;
    std::array<std::int64_t, sizeof...(Terms)> numbers;

    std::uint64_t hash() const {
      std::uint64_t value = 0;
      for (const std::uint64_t word : key) value = mix(value ^ word) + 0x9e3779b97f4a7c15;
      return value;
    }
    std::uint64_t digest() const {
      std::uint64_t value = hash();
      for (const std::int64_t number : numbers) value = mix(value ^ static_cast<std::uint64_t>(number));
      return value;
    }
    void start() { numbers = {Terms::kStart...}; }
    void merge(const Record& other) {
      std::size_t i = 0;
      ((Terms::add(numbers[i], other.numbers[i]), ++i), ...);
    }
  };

  // The group of one row alone. get(column) gives the row's value in it.
  template <typename Get>
  static Record of(Get get) {
    Record made;
    std::uint64_t* word = made.key.data();
    (put(word, get(std::integral_constant<unsigned, C>{})), ...);
    std::size_t i = 0;
    ((made.numbers[i++] = get(std::integral_constant<unsigned, Terms::kColumn>{})), ...);
    return made;
  }

 private:
  template <typename T>
  static void put(std::uint64_t*& word, const T& value) {
    *word = 0;
    std::memcpy(word, &value, sizeof(T));
    word += (sizeof(T) + 7) / 8;
  }
};

// DRust's set, whose aggregates differ from the official ones.
using Queries = std::tuple<Query<By<kId1>, Sum<kV1>>,                  //
                           Query<By<kId1, kId2>, Sum<kV1>>,            //
                           Query<By<kId3>, Sum<kV1>, Sum<kV3>>,        //
                           Query<By<kId4>, Sum<kV1>, Sum<kV3>>,        //
                           Query<By<kId6>, Sum<kV1>, Sum<kV3>>,        //
                           Query<By<kId4, kId5>, Sum<kV3>, Min<kV3>>,  //
                           Query<By<kId3>, Min<kV1>, Min<kV2>>,        //
                           Query<By<kId6>, Min<kV3>>,                  //
                           Query<By<kId2, kId4>, Sum<kV1>, Sum<kV2>>,  //
                           Query<By<kId1, kId2, kId3, kId4, kId5, kId6>, Sum<kV1>, Sum<kV3>>>;
inline constexpr std::size_t kQueries = std::tuple_size_v<Queries>;

// Groups in plain memory, in the order in which they came.
template <typename Record>
class Groups {
 public:
  explicit Groups(std::size_t expected = 0) : slots_(std::bit_ceil(std::max<std::size_t>(2 * expected, 64))) {}

  void add(const Record& record) {
    if (2 * records_.size() >= slots_.size()) grow();
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = record.hash() & mask;; at = (at + 1) & mask) {
      if (slots_[at] == 0) {
        records_.push_back(record);
        slots_[at] = static_cast<std::uint32_t>(records_.size());
        return;
      }
      Record& there = records_[slots_[at] - 1];
      if (there.key == record.key) return there.merge(record);
    }
  }
  const std::vector<Record>& records() const { return records_; }

 private:
  void grow() {
    std::vector<std::uint32_t>(2 * slots_.size()).swap(slots_);
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t i = 0; i < records_.size(); ++i) {
      std::size_t at = records_[i].hash() & mask;
      while (slots_[at] != 0) at = (at + 1) & mask;
      slots_[at] = static_cast<std::uint32_t>(i + 1);
    }
  }

  std::vector<std::uint32_t> slots_;  // number of the record + 1; 0: none
  std::vector<Record> records_;
};

// Where the time goes. Out of line: all modes run the same machine code.
template <typename Query, typename Record = typename Query::Record>
[[gnu::noinline]] void add_rows(const std::array<const void*, kColumns>& columns, std::uint64_t rows,
                                Groups<Record>& groups) {
  for (std::uint64_t i = 0; i < rows; ++i) {
    groups.add(Query::of(
        [&]<unsigned C>(std::integral_constant<unsigned, C>) { return static_cast<const TypeOf<C>*>(columns[C])[i]; }));
  }
}
template <typename Record>
[[gnu::noinline]] void add_records(std::span<const Record> records, Groups<Record>& groups) {
  for (const Record& record : records) groups.add(record);
}

}  // namespace app::frame
