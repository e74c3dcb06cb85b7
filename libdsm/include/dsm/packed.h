// How functions and their arguments travel; part of <dsm/delegate.h> and <dsm/spawn.h>.
#pragma once

#include <dsm/hints.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#pragma GCC visibility push(default)
namespace dsm::detail {

std::uint64_t function_offset(const void* function);
const void* function_of_offset(std::uint64_t offset);

// A function pointer travels as its place in the program; an object without state (a lambda that captures nothing) as
// nothing at all: its type is in the code that runs it.
template <typename F>
struct travelling_function {
  static_assert(std::is_empty_v<F> && std::is_trivially_copyable_v<F>,
                "give a function pointer or a lambda that captures nothing: captures would be pointers into this node");
  static constexpr std::size_t bytes = 0;
  static void put(std::byte*, const F&) {}
  static F& get(const std::byte*) {
    static std::byte place{};
    return reinterpret_cast<F&>(place);
  }
};
template <typename F>
requires is_function_pointer<F>
struct travelling_function<F> {
  static constexpr std::size_t bytes = 8;
  static void put(std::byte* to, F function) {
    const std::uint64_t offset = function_offset(reinterpret_cast<const void*>(function));
    std::memcpy(to, &offset, sizeof offset);
  }
  static F get(const std::byte* from) {
    std::uint64_t offset = 0;
    std::memcpy(&offset, from, sizeof offset);
    return reinterpret_cast<F>(reinterpret_cast<std::uintptr_t>(function_of_offset(offset)));
  }
};

// Values one behind the other, each aligned to 8. What is moved in is as bytes from then on; run() ends its life. A
// function pointer among them lies there as its place in the program; 0 is null, as no function is there.
template <typename... Args>
struct packed {
  static_assert((!std::is_member_function_pointer_v<Args> && ...),
                "a pointer to a member function is an address, which is another one on each node: give a function "
                "pointer or a lambda that captures nothing");
  static_assert(((travels<Args> || is_function_pointer<Args>)&&...), "arguments are copied as bytes; see dsm::travels");
  static_assert(((alignof(Args) <= 8) && ...), "arguments lie aligned to 8 on their way");
  static constexpr std::array<std::size_t, sizeof...(Args) + 1> offsets() {
    std::array<std::size_t, sizeof...(Args) + 1> all{};
    std::size_t next = 0;
    std::size_t at = 0;
    ((all[next++] = at, at += (sizeof(Args) + 7) / 8 * 8), ...);
    all[next] = at;
    return all;
  }
  static constexpr std::size_t bytes = offsets()[sizeof...(Args)];

  static void put(std::byte* to, Args&&... args) {
    put_each(to, std::index_sequence_for<Args...>{}, std::move(args)...);
  }
  // fn(args...), with the values moved out of `from`.
  template <typename Call>
  static decltype(auto) run(std::byte* from, Call&& call) {
    return run_each(from, std::index_sequence_for<Args...>{}, std::forward<Call>(call));
  }

 private:
  template <std::size_t... I>
  static void put_each([[maybe_unused]] std::byte* to, std::index_sequence<I...>, Args&&... args) {
    (put_one<Args>(to + offsets()[I], std::move(args)), ...);
  }
  template <typename T>
  static void put_one(std::byte* to, T&& value) {
    if constexpr (is_function_pointer<T>) {
      if (value != nullptr) return travelling_function<T>::put(to, value);
    }
    ::new (static_cast<void*>(to)) T(std::forward<T>(value));
  }
  template <typename T>
  static T* value_at(std::byte* from) {
    T* const value = std::launder(reinterpret_cast<T*>(from));
    if constexpr (is_function_pointer<T>) {
      if (*value != nullptr) *value = travelling_function<T>::get(from);
    }
    return value;
  }
  template <typename T>
  struct taken {
    T* value;
    ~taken() { std::destroy_at(value); }
  };
  template <std::size_t... I, typename Call>
  static decltype(auto) run_each([[maybe_unused]] std::byte* from, std::index_sequence<I...>, Call&& call) {
    return run_taken(std::forward<Call>(call), taken<Args>{value_at<Args>(from + offsets()[I])}...);
  }
  template <typename Call>
  static decltype(auto) run_taken(Call&& call, taken<Args>&&... each) {
    return std::forward<Call>(call)(std::move(*each.value)...);
  }
};

}  // namespace dsm::detail
#pragma GCC visibility pop
