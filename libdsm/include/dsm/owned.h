// Owners (L2), part of <dsm/hints.h>, which explains them: include that.
#pragma once

#include <dsm/hints.h>
#include <dsm/source_location.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#pragma GCC visibility push(default)
namespace dsm {

namespace detail {

// Owners: `bits` is 48 bits of address and 16 of colour, 0 for none.
borrowed owned_new(std::size_t bytes, call_site site);  // bytes undefined, borrowed to change it; data null: no memory
std::uint64_t owned_begin(void* pin);                   // ends that; the bits
borrowed borrow_owned_shared(std::uint64_t bits, std::size_t bytes, call_site site);
borrowed borrow_owned_mut(std::uint64_t* bits, std::size_t bytes, call_site site);
borrowed owned_end(std::uint64_t bits, std::size_t bytes, call_site site);  // borrowed once more, to destroy it ...
void owned_free(std::uint64_t bits, void* pin);                             // ... and gone. pin null: never borrowed
std::uint64_t owned_transfer(std::uint64_t bits, std::size_t bytes, unsigned node, call_site site);
void owned_fetch(const std::uint64_t* const* bits, std::size_t count, std::size_t bytes, call_site site);
enum class owner_end { moved, destroyed };
void owned_check_idle(std::uint64_t bits, owner_end how);  // its object is not being changed

constexpr std::uint64_t address_of_bits(std::uint64_t bits) { return bits & ((std::uint64_t{1} << 47) - 1); }

}  // namespace detail

namespace detail {

// What every owner is: the bits, held once, of objects of this exact type. It does not destroy them: own_ptr does.
template <typename T>
class owner {
 public:
  using element = T;

  explicit operator bool() const { return bits_ != 0; }
  // The object's global address. Only for L1 hints and plain access; it changes when the object moves.
  T* address() const { return reinterpret_cast<T*>(address_of_bits(bits_)); }
  // Of its bytes: in a job with memory nodes one of these, whichever program node has the object.
  unsigned home() const { return dsm::home(address()); }

  // For sending an owner as 8 bytes: leak() here, adopt() there, once.
  std::uint64_t leak() noexcept {
    if (bits_ != 0) owned_check_idle(bits_, owner_end::moved);
    return std::exchange(bits_, 0);
  }

  // For the functions below.
  const std::uint64_t& bits() const { return bits_; }
  std::uint64_t& bits() { return bits_; }

 protected:
  owner() = default;
  explicit owner(std::uint64_t bits) : bits_(bits) {}

  void destroy(std::size_t count, dsm::source_location where) {
    static_assert(!std::is_polymorphic_v<T>, "an object with a vtable cannot live on another node");
    if (bits_ == 0) return;
    owned_check_idle(bits_, owner_end::destroyed);
    const std::uint64_t bits = std::exchange(bits_, 0);
    if constexpr (std::is_trivially_destructible_v<T>) {
      owned_free(bits, nullptr);
    } else {
      const borrowed last = owned_end(bits, count * sizeof(T), where);
      std::destroy_n(static_cast<T*>(last.data), count);
      owned_free(bits, last.pin);
    }
  }

  std::uint64_t bits_ = 0;
};

}  // namespace detail

// Owns one object of the global heap; destroys and frees it at its end, on whatever node that is. 64 bits that mean the
// same on all nodes; an owner within an owned object travels with it. The exact type: there is no own_ptr to a base.
template <typename T>
class own_ptr : public detail::owner<T> {
 public:
  own_ptr() = default;
  own_ptr(std::nullptr_t) {}
  own_ptr(own_ptr&& other) noexcept : detail::owner<T>(other.leak()) {}
  own_ptr& operator=(own_ptr&& other) noexcept {
    if (this != &other) {
      reset();
      this->bits_ = other.leak();
    }
    return *this;
  }
  ~own_ptr() { reset(); }

  static constexpr std::size_t size() { return 1; }
  static constexpr std::size_t size_bytes() { return sizeof(T); }
  void reset(dsm::source_location where = dsm::source_location::current()) { this->destroy(1, where); }

  static own_ptr adopt(std::uint64_t bits) {
    own_ptr made;
    made.bits_ = bits;
    return made;
  }
};

// Owns an array. 16 bytes: the owner's and the count.
template <typename T>
class own_ptr<T[]> : public detail::owner<T> {
 public:
  own_ptr() = default;
  own_ptr(std::nullptr_t) {}
  own_ptr(own_ptr&& other) noexcept : detail::owner<T>(other.leak()), count_(other.count_) {}
  own_ptr& operator=(own_ptr&& other) noexcept {
    if (this != &other) {
      reset();
      count_ = other.count_;
      this->bits_ = other.leak();
    }
    return *this;
  }
  ~own_ptr() { reset(); }

  std::size_t size() const { return count_; }
  std::size_t size_bytes() const { return count_ * sizeof(T); }
  void reset(dsm::source_location where = dsm::source_location::current()) { this->destroy(count_, where); }

  static own_ptr adopt(std::uint64_t bits, std::size_t count) {
    own_ptr made;
    made.bits_ = bits;
    made.count_ = count;
    return made;
  }

 private:
  std::size_t count_ = 0;
};

template <typename T>
inline constexpr bool travels<own_ptr<T>> = true;

namespace detail {
// More than any object may have if that is more than a size can say.
constexpr std::size_t array_bytes(std::size_t count, std::size_t each) {
  return count > SIZE_MAX / each ? SIZE_MAX : count * each;
}
}  // namespace detail

// A new object, homed at this node; with memory nodes its bytes are at one of them, which is what home() says, and its
// header at this node. Empty if memory is used up.
template <typename T, typename... Args>
requires(!std::is_array_v<T>) [[nodiscard]] own_ptr<T> make_owned(Args&&... args) {
  static_assert(travels<T>, "the object is copied as bytes; see dsm::travels");
  const detail::borrowed fresh = detail::owned_new(sizeof(T), dsm::source_location::current());
  if (fresh.data == nullptr) return {};
  if constexpr (std::is_constructible_v<T, Args...>) {
    ::new (fresh.data) T(std::forward<Args>(args)...);
  } else {
    ::new (fresh.data) T{std::forward<Args>(args)...};  // an aggregate, where T(...) is not for those (clang 14)
  }
  return own_ptr<T>::adopt(detail::owned_begin(fresh.pin));
}
// `count` objects, value-initialised; 64 MiB of them at the most. Empty if they are more, or memory is used up.
template <typename T>
requires std::is_unbounded_array_v<T>
[[nodiscard]] own_ptr<T> make_owned(std::size_t count) {
  using element = std::remove_extent_t<T>;
  static_assert(travels<element>, "the objects are copied as bytes; see dsm::travels");
  const detail::borrowed fresh =
      detail::owned_new(detail::array_bytes(count, sizeof(element)), dsm::source_location::current());
  if (fresh.data == nullptr) return {};
  std::uninitialized_value_construct_n(static_cast<element*>(fresh.data), count);
  return own_ptr<T>::adopt(detail::owned_begin(fresh.pin), count);
}
// The same with undefined content, for what is written whole at once.
template <typename T>
requires std::is_unbounded_array_v<T>
[[nodiscard]] own_ptr<T> make_owned_for_overwrite(std::size_t count) {
  using element = std::remove_extent_t<T>;
  static_assert(std::is_trivially_copyable_v<element>,
                "the objects have to be bytes that are written before they are read");
  const detail::borrowed fresh =
      detail::owned_new(detail::array_bytes(count, sizeof(element)), dsm::source_location::current());
  if (fresh.data == nullptr) return {};
  return own_ptr<T>::adopt(detail::owned_begin(fresh.pin), count);
}

template <typename T>
[[nodiscard]] shared_ref<T> borrow_shared(const own_ptr<T>& owner,
                                          dsm::source_location where = dsm::source_location::current()) {
  return {detail::borrow_owned_shared(owner.bits(), owner.size_bytes(), where), owner.size()};
}
// The owner must stay where it is until the borrow's end: its colour, and on another node its address, change.
template <typename T>
[[nodiscard]] mut_ref<T> borrow_mut(own_ptr<T>& owner, dsm::source_location where = dsm::source_location::current()) {
  return {detail::borrow_owned_mut(&owner.bits(), owner.size_bytes(), where), owner.size(), true};
}

// Moves the object to `node`'s memory and returns its owner, to be kept or sent there. With memory nodes the header
// moves to `node`, and the bytes to a memory node's that `node` has allocated: home() is never `node` then.
template <typename T>
[[nodiscard]] own_ptr<T> transfer(own_ptr<T>&& owner, unsigned node,
                                  dsm::source_location where = dsm::source_location::current()) {
  const std::uint64_t moved = detail::owned_transfer(owner.leak(), owner.size_bytes(), node, where);
  if constexpr (std::is_array_v<T>) {
    return own_ptr<T>::adopt(moved, owner.size());
  } else {
    return own_ptr<T>::adopt(moved);
  }
}

// Begins to fetch what is not in this node's cache, in one chain of operations for each home, and does not wait for it:
// this thread's next borrow that misses or that changes another node's object, its next borrow_shared_each or prefetch
// does. At the most 256
// objects or 4 MiB are on their way at a time; beyond that it waits for the earlier ones.
template <typename T>
requires(!std::is_array_v<T>) void prefetch(std::span<const own_ptr<T>> owners,
                                            dsm::source_location where = dsm::source_location::current()) {
  std::vector<const std::uint64_t*> bits;
  bits.reserve(owners.size());
  for (const own_ptr<T>& owner : owners) bits.push_back(&owner.bits());
  detail::owned_fetch(bits.data(), bits.size(), sizeof(T), where);
}
template <typename T>
void prefetch(const own_ptr<T>& owner, dsm::source_location where = dsm::source_location::current()) {
  const std::uint64_t* bits = &owner.bits();
  detail::owned_fetch(&bits, 1, owner.size_bytes(), where);
}
// All of a range at once: what is missing is fetched as by prefetch().
template <typename T>
requires(!std::is_array_v<T>) [[nodiscard]] std::vector<shared_ref<T>> borrow_shared(
    std::span<const own_ptr<T>> owners, dsm::source_location where = dsm::source_location::current()) {
  prefetch(owners, where);
  std::vector<shared_ref<T>> refs;
  refs.reserve(owners.size());
  for (const own_ptr<T>& owner : owners) refs.push_back(borrow_shared(owner, where));
  return refs;
}

}  // namespace dsm
#pragma GCC visibility pop
