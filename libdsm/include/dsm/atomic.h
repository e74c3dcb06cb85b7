// A word of the global heap that all nodes change at its home, by one-sided atomic operations: no page moves, and the
// home's threads need not run. std::atomic works on global memory, too, by moving the page to whoever changes it: that
// is quicker for one node that uses it often, this for many nodes in turn.
//
//   auto* hits = dsm::make_object<dsm::atomic<std::uint64_t>>(0);   // or dsm::make, or as part of a larger object
//   hits->fetch_add(1);
//
// Lives at a global address. Sequentially consistent. Plain access to its page is coherent with it (and costs the
// page's change of mode); a borrow of bytes that contain it does not see what has become of it since.
#pragma once

#include <dsm/guarded.h>
#include <dsm/source_location.h>

#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

#pragma GCC visibility push(default)
namespace dsm {

namespace detail {
std::uint64_t word_load(const void* word, call_site site);
std::uint64_t word_exchange(void* word, std::uint64_t value, call_site site);
std::uint64_t word_swap(void* word, std::uint64_t expected, std::uint64_t desired, call_site site);  // what it found
std::uint64_t word_add(void* word, std::uint64_t value, call_site site);
std::uint64_t word_and(void* word, std::uint64_t value, call_site site);
std::uint64_t word_or(void* word, std::uint64_t value, call_site site);
std::uint64_t word_xor(void* word, std::uint64_t value, call_site site);
}  // namespace detail

// T: 8 bytes without padding; integers and pointers have the arithmetic, too. Each call returns the value before.
template <typename T>
class atomic {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) == 8, "dsm::atomic is for types of 8 bytes");
  static_assert(travels<T>, "a function's address is another one on each node: it cannot be in a dsm::atomic");
  using place = dsm::source_location;
  // What a difference of one is.
  static constexpr std::uint64_t unit() {
    if constexpr (std::is_pointer_v<T>) return sizeof(std::remove_pointer_t<T>);
    return 1;
  }
  static constexpr bool counts = std::integral<T> || std::is_pointer_v<T>;
  using difference = std::conditional_t<std::is_pointer_v<T>, std::ptrdiff_t, T>;

 public:
  constexpr atomic() = default;
  constexpr explicit atomic(T value) : value_(value) {}

  T load(place where = place::current()) const { return of(detail::word_load(&value_, where)); }
  void store(T value, place where = place::current()) { exchange(value, where); }
  T exchange(T value, place where = place::current()) { return of(detail::word_exchange(&value_, bits(value), where)); }
  // True: it was `expected` and is `desired` now. False: `expected` becomes what it is.
  bool compare_exchange(T& expected, T desired, place where = place::current()) {
    const std::uint64_t before = bits(expected);
    const std::uint64_t found = detail::word_swap(&value_, before, bits(desired), where);
    expected = of(found);
    return found == before;
  }
  T fetch_add(difference by, place where = place::current()) requires counts {
    return of(detail::word_add(&value_, std::bit_cast<std::uint64_t>(by) * unit(), where));
  }
  T fetch_sub(difference by, place where = place::current()) requires counts {
    return of(detail::word_add(&value_, std::uint64_t{0} - std::bit_cast<std::uint64_t>(by) * unit(), where));
  }
  T fetch_and(T mask, place where = place::current()) requires std::integral<T> {
    return of(detail::word_and(&value_, bits(mask), where));
  }
  T fetch_or(T mask, place where = place::current()) requires std::integral<T> {
    return of(detail::word_or(&value_, bits(mask), where));
  }
  T fetch_xor(T mask, place where = place::current()) requires std::integral<T> {
    return of(detail::word_xor(&value_, bits(mask), where));
  }

 private:
  static std::uint64_t bits(T value) { return std::bit_cast<std::uint64_t>(value); }
  static T of(std::uint64_t bits) { return std::bit_cast<T>(bits); }

  alignas(8) T value_{};
};

}  // namespace dsm
#pragma GCC visibility pop
