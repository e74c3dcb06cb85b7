// A lock and what it protects, as one object: locking fetches the value with the lock in one chain of operations, and
// unlocking writes it back with the release. Made in the global heap:
//
//   auto* account = dsm::make_object<dsm::guarded<Account>>(100);   // or dsm::make, or as part of a larger object
//   { auto g = account->lock();  g->balance -= 10; }                // nobody else has it meanwhile, on any node
//   account->with([](Account& a) { a.balance += 10; });
//   int seen = account->read()->balance;                            // a snapshot
//
// The lock is the mutable borrow of the value (<dsm/hints.h>), with its fair queue and its diagnostics: a thread that
// locks twice, threads that wait for each other in a circle, and its own plain access to the value (with several nodes)
// end the program with one line.
#pragma once

#include <dsm/hints.h>
#include <dsm/source_location.h>

#include <type_traits>
#include <utility>

#pragma GCC visibility push(default)
namespace dsm {

namespace detail {
// A block of the object arenas of `node`, which share no page with plain data. nullptr if memory is used up there.
void* object_block(std::size_t bytes, unsigned node);
}  // namespace detail

// Objects that are used through hints, guards, atomics and calls only: they share no page with plain data, so no plain
// access to a neighbour makes them leave object mode. nullptr if memory is used up, or `node` does not exist.
template <typename T, typename... Args>
[[nodiscard]] T* make_object_on(unsigned node, Args&&... args) {
  static_assert(travels<T> && alignof(T) <= 64, "the object is copied as bytes; see dsm::travels");
  auto* const object = static_cast<T*>(detail::object_block(sizeof(T), node));
  if (object == nullptr) return nullptr;
  auto made = borrow_mut(object);
  ::new (static_cast<void*>(made.get())) T(std::forward<Args>(args)...);
  return object;
}
template <typename T, typename... Args>
[[nodiscard]] T* make_object(Args&&... args) {
  return make_object_on<T>(dsm::node(), std::forward<Args>(args)...);
}
// For what both made, from any node. Nobody may use the object any more.
template <typename T>
void destroy_object(T* object) {
  if (object == nullptr) return;
  if constexpr (!std::is_trivially_destructible_v<T>) std::destroy_at(borrow_mut(object).get());
  dsm::free(object);
}

// All members are thread-safe, but the constructor and the destructor. Must not be copied while others use it.
template <typename T>
class alignas(64) guarded {
 public:
  static_assert(travels<T>, "the value is copied as bytes; see dsm::travels");

  template <typename... Args>
  explicit guarded(Args&&... args) : value_(std::forward<Args>(args)...) {}

  // Waits until nobody has it. The guard's end unlocks; release_unchanged() unlocks without writing back.
  [[nodiscard]] mut_ref<T> lock(dsm::source_location where = dsm::source_location::current()) {
    return borrow_mut(&value_, where);
  }
  // fn(T&) under the lock; its result.
  template <typename F>
  decltype(auto) with(F&& fn, dsm::source_location where = dsm::source_location::current()) {
    auto held = lock(where);
    return std::forward<F>(fn)(*held);
  }
  // The value as it was after some unlock() that came before. Waits while a thread of the value's home has it locked; a
  // value of more than 1 KiB is read in place there, and holds lock() and other nodes' unlocking off until the guard
  // ends.
  [[nodiscard]] shared_ref<T> read(dsm::source_location where = dsm::source_location::current()) const {
    return borrow_shared(&value_, where);
  }

 private:
  T value_;
};

template <typename T>
inline constexpr bool travels<guarded<T>> = travels<T>;

}  // namespace dsm
#pragma GCC visibility pop
