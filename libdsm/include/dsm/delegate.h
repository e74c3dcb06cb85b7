// Calls that go to the object: a small function runs at the object's home, on the object in place, instead of the
// object's bytes coming here. For objects that everybody changes.
//
//   long now = dsm::call_at(counter, [](Counter& c, long by) { return c.value += by; }, 5L);    // waits for the result
//   dsm::call_at_async(counter, [](Counter& c, long by) { c.value += by; }, 5L);                // goes out in batches
//   dsm::flush();                                                // all calls of this thread have run
//
// Rules. A call has the object to itself: no borrow, lock or other call changes or sees it meanwhile. The calls of one
// thread on one object run in order; calls on different objects may run in any order. A call waits its turn while the
// object is borrowed to be changed, or of more than 1 KiB and borrowed at its home, and holds up nothing but later
// calls on that object (64 bytes of memory are the unit: small objects that share them wait for each other). So a
// thread that holds such a borrow must not wait for calls on the object that it has posted before: a flush() that would
// wait for ever ends the program with a clear line. What a posted call has done is seen after flush(); until then it
// may lie in this thread's buffer, which goes out when it is full, at flush(), at the thread's next waiting call to
// that node, and at its end.
//
// The function is a function pointer of the program or a lambda without captures, takes T& and then the arguments by
// value (a function pointer, too), must not throw, should take well under a microsecond, and touches nothing but the
// object: it runs on a thread of the home's that serves all. It must not make or post calls itself, and not borrow
// (that ends the program with a clear line). All nodes must run the same program; that is checked. With
// memory nodes only in a job of one program node: a call to another node ends the program with a clear line. The calls
// are thread-safe; not for signal handlers.
#pragma once

#include <dsm/packed.h>
#include <dsm/source_location.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <type_traits>

#pragma GCC visibility push(default)
namespace dsm {

// Waits until all calls that this thread has posted have run.
void flush(dsm::source_location where = dsm::source_location::current());

namespace detail {

// Runs a function on each of `count` objects; record i begins at records + i * stride with its object's address.
using run_records = void (*)(void* const* objects, std::byte* records, std::size_t stride, std::size_t count,
                             void* result);

inline constexpr std::size_t most_record_bytes = 1024;

// A thread's buffer for the calls to one node: what is written at `at` belongs to the run of `key`'s calls.
struct call_lane {
  std::byte* at = nullptr;
  std::byte* end = nullptr;
  run_records key = nullptr;
  std::uint32_t* count = nullptr;  // of the run
};
struct call_lanes {
  std::uint64_t base = 0, sliced = 0;  // addresses of the nodes' slices
  unsigned shift = 0;                  // of a slice's size
  call_lane to[64];
};
extern thread_local constinit call_lanes* my_lanes __attribute__((tls_model("initial-exec")));

// Where to write the record of a call, when there is no room for it in the lane as it is.
std::byte* call_slot(std::uint64_t object, run_records run, std::size_t stride, std::size_t object_bytes);
void call_now(std::byte* record, run_records run, std::size_t stride, std::size_t object_bytes, void* result,
              std::size_t result_bytes);
[[noreturn]] void call_threw(const char* what);

template <typename T, typename F, typename... Args>
struct call_of {
  using function = travelling_function<F>;
  using arguments = packed<Args...>;
  using result = std::invoke_result_t<F, T&, Args...>;
  static constexpr std::size_t arguments_at = 8 + function::bytes;
  static constexpr std::size_t stride = arguments_at + arguments::bytes;
  static_assert(stride <= most_record_bytes, "the arguments of a call are at the most 1000 bytes");

  static void put(std::byte* record, std::uint64_t object, F& fn, Args&&... args) {
    std::memcpy(record, &object, sizeof object);
    function::put(record + 8, fn);
    arguments::put(record + arguments_at, std::move(args)...);
  }
  static decltype(auto) one(void* object, std::byte* record) {
    return arguments::run(record + arguments_at, [&](Args&&... args) -> result {
      return function::get(record + 8)(*static_cast<T*>(object), std::move(args)...);
    });
  }
  static void run(void* const* objects, std::byte* records, std::size_t, std::size_t count, void*) noexcept try {
    for (std::size_t i = 0; i < count; ++i) one(objects[i], records + i * stride);
  } catch (const std::exception& thrown) {
    call_threw(thrown.what());
  } catch (...) {
    call_threw("something that is no std::exception");
  }
  static void run_with_result(void* const* objects, std::byte* records, std::size_t, std::size_t,
                              [[maybe_unused]] void* to) noexcept try {
    if constexpr (std::is_void_v<result>) {
      one(objects[0], records);
    } else {
      ::new (to) result(one(objects[0], records));
    }
  } catch (const std::exception& thrown) {
    call_threw(thrown.what());
  } catch (...) {
    call_threw("something that is no std::exception");
  }
};

}  // namespace detail

// Posts a call. Its result, if it has one, is dropped.
template <typename T, typename F, typename... Args>
inline void call_at_async(T* object, F fn, Args... args) {
  static_assert(travels<T>, "the object may live on another node; see dsm::travels");
  using call = detail::call_of<T, F, Args...>;
  const auto address = reinterpret_cast<std::uint64_t>(object);
  std::byte* record = nullptr;
  if (detail::call_lanes* const lanes = detail::my_lanes; lanes != nullptr && address - lanes->base < lanes->sliced)
      [[likely]] {
    detail::call_lane& lane = lanes->to[(address - lanes->base) >> lanes->shift];
    if (lane.key == &call::run && lane.at + call::stride <= lane.end) [[likely]] {
      record = lane.at;
      lane.at += call::stride;
      ++*lane.count;
    }
  }
  if (record == nullptr) record = detail::call_slot(address, &call::run, call::stride, sizeof(T));
  call::put(record, address, fn, std::move(args)...);
}

namespace detail {
template <typename T, typename F, typename... Args>
auto call_and_wait(T* object, F fn, Args... args) -> typename call_of<T, F, Args...>::result {
  static_assert(travels<T>, "the object may live on another node; see dsm::travels");
  using call = call_of<T, F, Args...>;
  using result = typename call::result;
  alignas(8) std::byte record[call::stride];
  call::put(record, reinterpret_cast<std::uint64_t>(object), fn, std::move(args)...);
  if constexpr (std::is_void_v<result>) {
    call_now(record, &call::run_with_result, call::stride, sizeof(T), nullptr, 0);
  } else {
    static_assert(!is_function_pointer<result>,
                  "a function's address is another one on each node: it cannot be a result");
    static_assert(travels<result> && sizeof(result) <= 65536, "the result is copied as bytes; see dsm::travels");
    alignas(result) alignas(8) std::byte place[(sizeof(result) + 7) / 8 * 8];
    call_now(record, &call::run_with_result, call::stride, sizeof(T), place, sizeof(result));
    auto* const made = std::launder(reinterpret_cast<result*>(place));
    result moved(std::move(*made));
    std::destroy_at(made);
    return moved;
  }
}
}  // namespace detail

// fn(*object, args...) at the object's home; waits for its result, of at the most 64 KiB.
template <typename T, typename F, typename... Args>
auto call_at(T* object, F fn, Args... args) {
  return detail::call_and_wait<T, F, Args...>(object, fn, std::move(args)...);
}

}  // namespace dsm
#pragma GCC visibility pop
