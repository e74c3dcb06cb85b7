// Hints: who uses which object. A borrow works with a whole object, by one-sided operations instead of page faults, and
// no other node is told: who has an old copy finds out by itself. Hints mix with plain loads and stores: a plain access
// to an object's page makes all nodes finish their borrows there first, so a wrong or missing hint costs time only.
//
//   auto* a = dsm::make<Account>();                              // any global pointer (L1)
//   { auto r = dsm::borrow_shared(a);  print(r->balance); }      // the object whole, as it was when the scope began
//   { auto w = dsm::borrow_mut(a);     w->balance += 10;  }      // nobody else changes it meanwhile
//   dsm::transfer(a, node);                                      // from now on its borrows there need no network
//
//   auto p = dsm::make_owned<Account>();                         // owned (L2): one owner, which may be moved and sent
//   { auto r = dsm::borrow_shared(p); }                          // a repeated one needs no network at all
//   { auto w = dsm::borrow_mut(p); }                             // on another node than its home: the object moves
//   here
//
// Rules. A borrow names a whole object of at the most 64 MiB; two borrows name the same bytes or disjoint ones. What is
// borrowed is used through the guard only, never through the plain pointer inside the guard's scope. A shared borrow is
// a snapshot: it does not see, and does not hold off, a mutable borrow on another node. A thread that borrows several
// objects to change them does so in an order that all threads keep. A broken rule ends the program with one line that
// names both places, where the library can see it (DSM_CHECK=1 sees more, at a cost).
//
// The guard's address is not the object's: an object must be able to live anywhere, so its bytes are copied. Guards are
// for one thread at a time; borrowing different objects is thread-safe, and so is borrowing one object by its address.
// One own_ptr is like one pointer: threads that use the same one, and one of them changes it, need a lock. None of this
// may be called from a signal handler.
#pragma once

#include <dsm/dsm.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#pragma GCC visibility push(default)
namespace dsm {

namespace detail {

struct call_site {
  const char* file;
  unsigned line;
  constexpr call_site(std::source_location where) : file(where.file_name()), line(where.line()) {}
};
struct borrowed {
  void* data = nullptr;
  void* pin = nullptr;
};

borrowed borrow_shared(const void* object, std::size_t bytes, call_site site);
borrowed borrow_mut(void* object, std::size_t bytes, call_site site);
void end_shared(void* pin);
void end_mut(void* pin, bool changed);
void transfer(void* object, std::size_t bytes, unsigned node, call_site site);

// Owners: `bits` is 48 bits of address and 16 of colour, 0 for none.
borrowed owned_new(std::size_t bytes, call_site site);  // bytes undefined, borrowed to change it; data null: no memory
std::uint64_t owned_begin(void* pin);                   // ends that; the bits
borrowed borrow_owned_shared(std::uint64_t bits, std::size_t bytes, call_site site);
borrowed borrow_owned_mut(std::uint64_t* bits, std::size_t bytes, call_site site);
void end_owned_mut(void* pin, bool changed);
borrowed owned_end(std::uint64_t bits, std::size_t bytes, call_site site);  // borrowed once more, to destroy it ...
void owned_free(std::uint64_t bits, void* pin);                             // ... and gone. pin null: never borrowed
std::uint64_t owned_transfer(std::uint64_t bits, std::size_t bytes, unsigned node, call_site site);
void owned_fetch(const std::uint64_t* const* bits, std::size_t count, std::size_t bytes, call_site site);
void owned_check_idle(std::uint64_t bits, const char* what);

constexpr std::uint64_t address_of_bits(std::uint64_t bits) { return bits & ((std::uint64_t{1} << 47) - 1); }

}  // namespace detail

// Whether an object may live on as a copy of its bytes. Say so for a type of your own that holds owners:
//   template <> inline constexpr bool dsm::travels<Tree> = true;
template <typename T>
inline constexpr bool travels = std::is_trivially_copyable_v<T>;

// --- guards ---------------------------------------------------------------------------------------------------------

// A shared borrow, until the guard's end. T[]: an array.
template <typename T>
class shared_ref {
 public:
  using element = std::remove_extent_t<T>;

  shared_ref() = default;
  shared_ref(detail::borrowed from, std::size_t count) : from_(from), count_(count) {}
  shared_ref(shared_ref&& other) noexcept
      : from_(std::exchange(other.from_, {})), count_(std::exchange(other.count_, 0)) {}
  shared_ref& operator=(shared_ref&& other) noexcept {
    if (this == &other) return *this;
    release();
    from_ = std::exchange(other.from_, {});
    count_ = std::exchange(other.count_, 0);
    return *this;
  }
  ~shared_ref() { release(); }

  const element* get() const { return static_cast<const element*>(from_.data); }
  const element& operator*() const { return *get(); }
  const element* operator->() const { return get(); }
  const element& operator[](std::size_t index) const { return get()[index]; }
  std::size_t size() const { return count_; }
  std::span<const element> span() const { return {get(), count_}; }
  const element* begin() const { return get(); }
  const element* end() const { return get() + count_; }
  explicit operator bool() const { return from_.pin != nullptr; }
  void release() {  // before the guard's end
    if (from_.pin != nullptr) detail::end_shared(from_.pin);
    from_ = {};
  }

 private:
  detail::borrowed from_;
  std::size_t count_ = 0;
};

// A mutable borrow, until the guard's end.
template <typename T>
class mut_ref {
 public:
  using element = std::remove_extent_t<T>;

  mut_ref() = default;
  mut_ref(detail::borrowed from, std::size_t count, bool owned) : from_(from), count_(count), owned_(owned) {}
  mut_ref(mut_ref&& other) noexcept
      : from_(std::exchange(other.from_, {})), count_(std::exchange(other.count_, 0)), owned_(other.owned_) {}
  mut_ref& operator=(mut_ref&& other) noexcept {
    if (this == &other) return *this;
    release();
    from_ = std::exchange(other.from_, {});
    count_ = std::exchange(other.count_, 0);
    owned_ = other.owned_;
    return *this;
  }
  ~mut_ref() { release(); }

  element* get() const { return static_cast<element*>(from_.data); }
  element& operator*() const { return *get(); }
  element* operator->() const { return get(); }
  element& operator[](std::size_t index) const { return get()[index]; }
  std::size_t size() const { return count_; }
  std::span<element> span() const { return {get(), count_}; }
  element* begin() const { return get(); }
  element* end() const { return get() + count_; }
  explicit operator bool() const { return from_.pin != nullptr; }
  void release() { finish(true); }             // before the guard's end
  void release_unchanged() { finish(false); }  // nothing was written: other nodes' copies stay good

 private:
  void finish(bool changed) {
    if (from_.pin != nullptr) owned_ ? detail::end_owned_mut(from_.pin, changed) : detail::end_mut(from_.pin, changed);
    from_ = {};
  }

  detail::borrowed from_;
  std::size_t count_ = 0;
  bool owned_ = false;
};

// --- L1: any global pointer -----------------------------------------------------------------------------------------

template <typename T>
[[nodiscard]] shared_ref<T> borrow_shared(const T* object,
                                          std::source_location where = std::source_location::current()) {
  static_assert(travels<T>, "the object is copied as bytes; see dsm::travels");
  return {detail::borrow_shared(object, sizeof(T), where), 1};
}
template <typename T>
[[nodiscard]] shared_ref<T[]> borrow_shared(std::span<const T> objects,
                                            std::source_location where = std::source_location::current()) {
  static_assert(travels<T>, "the objects are copied as bytes; see dsm::travels");
  return {detail::borrow_shared(objects.data(), objects.size_bytes(), where), objects.size()};
}
template <typename T>
[[nodiscard]] mut_ref<T> borrow_mut(T* object, std::source_location where = std::source_location::current()) {
  static_assert(travels<T>, "the object is copied as bytes; see dsm::travels");
  return {detail::borrow_mut(object, sizeof(T), where), 1, false};
}
template <typename T>
[[nodiscard]] mut_ref<T[]> borrow_mut(std::span<T> objects,
                                      std::source_location where = std::source_location::current()) {
  static_assert(travels<T> && !std::is_const_v<T>, "the objects are copied as bytes; see dsm::travels");
  return {detail::borrow_mut(objects.data(), objects.size_bytes(), where), objects.size(), false};
}

// Makes `node` the object's standing owner: its later borrows of the object need no network, until another node borrows
// it. Waits for a mutable borrow that is under way.
template <typename T>
void transfer(T* object, unsigned node, std::source_location where = std::source_location::current()) {
  detail::transfer(object, sizeof(T), node, where);
}
template <typename T>
void transfer(std::span<T> objects, unsigned node, std::source_location where = std::source_location::current()) {
  detail::transfer(objects.data(), objects.size_bytes(), node, where);
}

// --- L2: owners -----------------------------------------------------------------------------------------------------

// Owns one object of the global heap; destroys and frees it at its end, on whatever node that is. 64 bits that mean the
// same on all nodes; an owner within an owned object travels with it. The exact type: there is no own_ptr to a base.
template <typename T>
class own_ptr {
  static_assert(!std::is_polymorphic_v<T>, "an object with a vtable cannot live on another node");

 public:
  using element = T;

  own_ptr() = default;
  own_ptr(std::nullptr_t) {}
  own_ptr(own_ptr&& other) noexcept : bits_(other.leak()) {}
  own_ptr& operator=(own_ptr&& other) noexcept {
    if (this != &other) {
      reset();
      bits_ = other.leak();
    }
    return *this;
  }
  ~own_ptr() { reset(); }

  explicit operator bool() const { return bits_ != 0; }
  // The object's global address. Only for L1 hints and plain access; it changes when the object moves.
  T* address() const { return reinterpret_cast<T*>(detail::address_of_bits(bits_)); }
  unsigned home() const { return dsm::home(address()); }

  void reset(std::source_location where = std::source_location::current()) {
    if (bits_ == 0) return;
    detail::owned_check_idle(bits_, "destroyed");
    const std::uint64_t bits = std::exchange(bits_, 0);
    if constexpr (std::is_trivially_destructible_v<T>) {
      detail::owned_free(bits, nullptr);
    } else {
      const detail::borrowed last = detail::owned_end(bits, sizeof(T), where);
      std::destroy_at(static_cast<T*>(last.data));
      detail::owned_free(bits, last.pin);
    }
  }

  // For sending an owner as 8 bytes: leak() here, adopt() there, once.
  std::uint64_t leak() noexcept {
    if (bits_ != 0) detail::owned_check_idle(bits_, "moved");
    return std::exchange(bits_, 0);
  }
  static own_ptr adopt(std::uint64_t bits) {
    own_ptr made;
    made.bits_ = bits;
    return made;
  }

  // For the functions below.
  const std::uint64_t& bits() const { return bits_; }
  std::uint64_t& bits() { return bits_; }

 private:
  std::uint64_t bits_ = 0;
};

// Owns an array. 16 bytes: the owner's and the count.
template <typename T>
class own_ptr<T[]> {
  static_assert(!std::is_polymorphic_v<T>, "an object with a vtable cannot live on another node");

 public:
  using element = T;

  own_ptr() = default;
  own_ptr(std::nullptr_t) {}
  own_ptr(own_ptr&& other) noexcept : count_(other.count_), bits_(other.leak()) {}
  own_ptr& operator=(own_ptr&& other) noexcept {
    if (this != &other) {
      reset();
      count_ = other.count_;
      bits_ = other.leak();
    }
    return *this;
  }
  ~own_ptr() { reset(); }

  explicit operator bool() const { return bits_ != 0; }
  T* address() const { return reinterpret_cast<T*>(detail::address_of_bits(bits_)); }
  unsigned home() const { return dsm::home(address()); }
  std::size_t size() const { return count_; }
  std::size_t size_bytes() const { return count_ * sizeof(T); }

  void reset(std::source_location where = std::source_location::current()) {
    if (bits_ == 0) return;
    detail::owned_check_idle(bits_, "destroyed");
    const std::uint64_t bits = std::exchange(bits_, 0);
    if constexpr (std::is_trivially_destructible_v<T>) {
      detail::owned_free(bits, nullptr);
    } else {
      const detail::borrowed last = detail::owned_end(bits, size_bytes(), where);
      std::destroy_n(static_cast<T*>(last.data), count_);
      detail::owned_free(bits, last.pin);
    }
  }
  std::uint64_t leak() noexcept {
    if (bits_ != 0) detail::owned_check_idle(bits_, "moved");
    return std::exchange(bits_, 0);
  }
  static own_ptr adopt(std::uint64_t bits, std::size_t count) {
    own_ptr made;
    made.bits_ = bits;
    made.count_ = count;
    return made;
  }
  const std::uint64_t& bits() const { return bits_; }
  std::uint64_t& bits() { return bits_; }

 private:
  std::size_t count_ = 0;
  std::uint64_t bits_ = 0;
};

template <typename T>
inline constexpr bool travels<own_ptr<T>> = true;

// A new object, homed at this node. Empty if memory is used up.
template <typename T, typename... Args>
requires(!std::is_array_v<T>) [[nodiscard]] own_ptr<T> make_owned(Args&&... args) {
  static_assert(travels<T>, "the object is copied as bytes; see dsm::travels");
  const detail::borrowed fresh = detail::owned_new(sizeof(T), std::source_location::current());
  if (fresh.data == nullptr) return {};
  ::new (fresh.data) T(std::forward<Args>(args)...);
  return own_ptr<T>::adopt(detail::owned_begin(fresh.pin));
}
// `count` objects, value-initialised.
template <typename T>
requires std::is_unbounded_array_v<T>
[[nodiscard]] own_ptr<T> make_owned(std::size_t count) {
  using element = std::remove_extent_t<T>;
  static_assert(travels<element>, "the objects are copied as bytes; see dsm::travels");
  const detail::borrowed fresh = detail::owned_new(count * sizeof(element), std::source_location::current());
  if (fresh.data == nullptr) return {};
  std::uninitialized_value_construct_n(static_cast<element*>(fresh.data), count);
  return own_ptr<T>::adopt(detail::owned_begin(fresh.pin), count);
}

template <typename T>
[[nodiscard]] shared_ref<T> borrow_shared(const own_ptr<T>& owner,
                                          std::source_location where = std::source_location::current()) {
  if constexpr (std::is_array_v<T>) {
    return {detail::borrow_owned_shared(owner.bits(), owner.size_bytes(), where), owner.size()};
  } else {
    return {detail::borrow_owned_shared(owner.bits(), sizeof(T), where), 1};
  }
}
// The owner must stay where it is until the borrow's end: its colour, and on another node its address, change.
template <typename T>
[[nodiscard]] mut_ref<T> borrow_mut(own_ptr<T>& owner, std::source_location where = std::source_location::current()) {
  if constexpr (std::is_array_v<T>) {
    return {detail::borrow_owned_mut(&owner.bits(), owner.size_bytes(), where), owner.size(), true};
  } else {
    return {detail::borrow_owned_mut(&owner.bits(), sizeof(T), where), 1, true};
  }
}

// Moves the object to `node`'s memory and returns its owner, to be kept or sent there.
template <typename T>
[[nodiscard]] own_ptr<T> transfer(own_ptr<T>&& owner, unsigned node,
                                  std::source_location where = std::source_location::current()) {
  if constexpr (std::is_array_v<T>) {
    const std::size_t count = owner.size(), bytes = owner.size_bytes();
    return own_ptr<T>::adopt(detail::owned_transfer(owner.leak(), bytes, node, where), count);
  } else {
    return own_ptr<T>::adopt(detail::owned_transfer(owner.leak(), sizeof(T), node, where));
  }
}

// Fetches into this node's cache what is not there, in one chain of operations for each home, and waits for it: the
// borrows that follow find it. For one object, borrowing it later costs the same.
template <typename T>
requires(!std::is_array_v<T>) void prefetch(std::span<const own_ptr<T>> owners,
                                            std::source_location where = std::source_location::current()) {
  std::vector<const std::uint64_t*> bits;
  bits.reserve(owners.size());
  for (const own_ptr<T>& owner : owners) bits.push_back(&owner.bits());
  detail::owned_fetch(bits.data(), bits.size(), sizeof(T), where);
}
template <typename T>
void prefetch(const own_ptr<T>& owner, std::source_location where = std::source_location::current()) {
  const std::uint64_t* bits = &owner.bits();
  if constexpr (std::is_array_v<T>) {
    detail::owned_fetch(&bits, 1, owner.size_bytes(), where);
  } else {
    detail::owned_fetch(&bits, 1, sizeof(T), where);
  }
}
// All of a range at once: what is missing is fetched as by prefetch().
template <typename T>
requires(!std::is_array_v<T>) [[nodiscard]] std::vector<shared_ref<T>> borrow_shared(
    std::span<const own_ptr<T>> owners, std::source_location where = std::source_location::current()) {
  prefetch(owners, where);
  std::vector<shared_ref<T>> refs;
  refs.reserve(owners.size());
  for (const own_ptr<T>& owner : owners) refs.push_back(borrow_shared(owner, where));
  return refs;
}

}  // namespace dsm
#pragma GCC visibility pop
