// A queue of values between threads of any nodes: bounded, with any number of senders and receivers, each served in the
// order of coming. Values travel by value; an own_ptr hands its object over without touching it.
//
//   auto* jobs = dsm::make<dsm::channel<dsm::own_ptr<Job>>>(16);         // on one node; publish() tells the others
//   jobs->send(dsm::make_owned<Job>());                                  // waits while 16 are under way
//   while (auto job = jobs->receive()) work(*dsm::borrow_mut(*job));     // until it is closed and empty
//   jobs->close();
//
// The values wait at the channel's home, the node that constructed it; each call is one exchange with it. All members
// are thread-safe, but the constructor and the destructor; not for signal handlers. A channel must not be copied. With
// memory nodes only in a job of one program node: use from another node ends the program with a clear line.
#pragma once

#include <dsm/hints.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#pragma GCC visibility push(default)
namespace dsm {

namespace detail {
struct channel_place {
  std::uint64_t home = 0, number = 0, bytes = 0;
  channel_place(std::size_t value_bytes, std::size_t capacity);
  ~channel_place();  // what is still in it is lost: receive it first
  channel_place(const channel_place&) = delete;
  channel_place& operator=(const channel_place&) = delete;
};
bool channel_send(const channel_place& place, const void* value);          // false: closed
bool channel_receive(const channel_place& place, void* value, bool wait);  // false: closed and empty; or empty
void channel_close(const channel_place& place);
}  // namespace detail

template <typename T>
class channel {
  static_assert(!detail::is_function_pointer<T>, "a function's address is another one on each node: it cannot be sent");
  static_assert(travels<T> && sizeof(T) <= 65536, "values are copied as bytes; see dsm::travels");

 public:
  // For `capacity` values, at least one.
  explicit channel(std::size_t capacity) : place_(sizeof(T), capacity) {}
  ~channel() {
    while (try_receive()) {  // so that values that own something free it
    }
  }

  // Waits for room. False if the channel is closed: `value` then is as it was.
  bool send(T&& value) {
    alignas(T) std::byte bytes[sizeof(T)];
    T* const moved = ::new (static_cast<void*>(bytes)) T(std::move(value));
    if (detail::channel_send(place_, bytes)) return true;
    value = std::move(*moved);
    std::destroy_at(moved);
    return false;
  }
  bool send(const T& value) requires std::is_copy_constructible_v<T> { return send(T(value)); }
  // Waits for a value; none if the channel is closed and empty.
  std::optional<T> receive() { return take(true); }
  std::optional<T> try_receive() { return take(false); }
  // Nothing can be sent any more, and who waits to send is sent away; what is in it can be received.
  void close() { detail::channel_close(place_); }

 private:
  std::optional<T> take(bool wait) {
    alignas(T) std::byte bytes[sizeof(T)];
    if (!detail::channel_receive(place_, bytes, wait)) return std::nullopt;
    T* const came = std::launder(reinterpret_cast<T*>(bytes));
    std::optional<T> value(std::move(*came));
    std::destroy_at(came);
    return value;
  }

  detail::channel_place place_;
};

}  // namespace dsm
#pragma GCC visibility pop
