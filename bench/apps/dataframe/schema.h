// The table of h2oai's db-benchmark (G1, K = 100): nine columns of N rows, every value made from the seed, its column
// and its row alone. Strings are of fixed length; v3 has six decimals and is kept as a number of millionths, so that
// sums do not depend on their order.
#pragma once

#include <array>
#include <cstdint>
#include <tuple>

#include "bench/apps/frame/random.h"

namespace app::frame {

using Text = std::array<char, 8>;       // "id016"
using LongText = std::array<char, 16>;  // "id0000000016"

enum Column : unsigned { kId1, kId2, kId3, kId4, kId5, kId6, kV1, kV2, kV3, kColumns };
using ColumnTypes = std::tuple<Text, Text, LongText, std::int32_t, std::int32_t, std::int32_t, std::int32_t,
                               std::int32_t, std::int64_t>;
template <unsigned C>
using TypeOf = std::tuple_element_t<C, ColumnTypes>;
static_assert(std::tuple_size_v<ColumnTypes> == kColumns);

inline constexpr std::uint64_t kGroups = 100;  // K

struct Table {
  std::uint64_t rows;
  std::uint64_t seed;
  std::uint64_t many() const { return rows / kGroups == 0 ? 1 : rows / kGroups; }  // N / K

  template <unsigned C>
  TypeOf<C> value(std::uint64_t row) const {
    const std::uint64_t random = random_at(seed, C, row);
    if constexpr (C == kId1 || C == kId2) {
      return text<8>(1 + random % kGroups, 3);
    } else if constexpr (C == kId3) {
      return text<16>(1 + random % many(), 10);
    } else if constexpr (C == kId4 || C == kId5) {
      return static_cast<std::int32_t>(1 + random % kGroups);
    } else if constexpr (C == kId6) {
      return static_cast<std::int32_t>(1 + random % many());
    } else if constexpr (C == kV3) {
      return static_cast<std::int64_t>(random % 100'000'000);
    } else {
      return static_cast<std::int32_t>(1 + random % 5);
    }
  }

 private:
  template <std::size_t N>
  static std::array<char, N> text(std::uint64_t number, std::size_t digits) {
    std::array<char, N> made{'i', 'd'};
    for (std::size_t i = digits; i-- > 0; number /= 10) made[2 + i] = static_cast<char>('0' + number % 10);
    return made;
  }
};

}  // namespace app::frame
