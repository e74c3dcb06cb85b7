// Groups, part of <dsm/hints.h>: objects that are used together live in one block, which is borrowed, fetched, moved
// and freed as one object, in one chain of operations however many they are. (DRust ties objects to an owner for the
// same reason: Ma et al., OSDI 2024, "affinity pointers".)
//
//   struct Node { int key; dsm::tied_ptr<Node> left, right; };
//   struct Tree { dsm::tied_ptr<Node> root; };
//   auto tree = dsm::make_group<Tree>(64 * 1024);                     // room for the tree and all its nodes
//   { auto w = dsm::borrow_mut(tree);     w->root = w.make<Node>(42); }
//   { auto r = dsm::borrow_shared(tree);  use(r->root->left->key); }  // one fetch, then plain loads
//
// Within a group objects point to each other by tied_ptr, which is the distance: right wherever a copy of the block is.
// A group's room is fixed when it is made, and is what a fetch moves. Its objects end with it, without destructors.
#pragma once

#include <dsm/owned.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#pragma GCC visibility push(default)
namespace dsm {

namespace detail {

// Ends the program: `target` does not lie in the block of the pointer that is to name it.
[[noreturn]] void end_for_tie(const void* target);

inline constexpr std::int64_t kMostTie = std::int64_t{64} << 20;  // as large as an object may be

}  // namespace detail

// Points to an object of the same group. Constant through a constant path, as what it points to is of the same borrow.
template <typename T>
class tied_ptr {
 public:
  tied_ptr() = default;
  tied_ptr(std::nullptr_t) {}
  tied_ptr(T* target) { set(target); }
  tied_ptr(const tied_ptr&) = delete;  // a copy on the stack would be in no group: walk with T*
  tied_ptr& operator=(const tied_ptr& other) {
    set(const_cast<T*>(other.get()));
    return *this;
  }
  tied_ptr& operator=(T* target) {
    set(target);
    return *this;
  }

  T* get() { return const_cast<T*>(std::as_const(*this).get()); }
  const T* get() const {
    if (distance_ == 0) return nullptr;
    return reinterpret_cast<const T*>(reinterpret_cast<const std::byte*>(this) + distance_);
  }
  T& operator*() { return *get(); }
  const T& operator*() const { return *get(); }
  T* operator->() { return get(); }
  const T* operator->() const { return get(); }
  T& operator[](std::size_t index) { return get()[index]; }
  const T& operator[](std::size_t index) const { return get()[index]; }
  explicit operator bool() const { return distance_ != 0; }

 private:
  void set(T* target) {
    const auto distance =
        static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(target) - reinterpret_cast<std::intptr_t>(this));
    if (target != nullptr && (distance >= detail::kMostTie || distance <= -detail::kMostTie)) {
      detail::end_for_tie(target);
    }
    distance_ = target == nullptr ? 0 : static_cast<std::int32_t>(distance);
  }

  std::int32_t distance_ = 0;  // from this pointer; 0: none, since no object points to itself by its first member
};

namespace detail {

// What a group's block begins with.
template <typename Root>
struct group_block {
  std::uint64_t used;  // bytes, this included
  std::uint64_t room;
  alignas(16) Root root;
};

}  // namespace detail

// A shared borrow of a whole group, until the guard's end.
template <typename Root>
class group_shared_ref {
 public:
  explicit group_shared_ref(shared_ref<std::byte[]> block) : block_(std::move(block)) {}
  const Root* get() const { return &reinterpret_cast<const detail::group_block<Root>*>(block_.get())->root; }
  const Root& operator*() const { return *get(); }
  const Root* operator->() const { return get(); }
  std::size_t used_bytes() const { return reinterpret_cast<const detail::group_block<Root>*>(block_.get())->used; }
  void release() { block_.release(); }  // before the guard's end

 private:
  shared_ref<std::byte[]> block_;
};

// A mutable borrow of a whole group, until the guard's end.
template <typename Root>
class group_mut_ref {
 public:
  explicit group_mut_ref(mut_ref<std::byte[]> block) : block_(std::move(block)) {}
  Root* get() const { return &head().root; }
  Root& operator*() const { return *get(); }
  Root* operator->() const { return get(); }
  std::size_t used_bytes() const { return head().used; }
  std::size_t room_bytes() const { return head().room - head().used; }

  // A new object of the group; nullptr if there is no room for it. Its memory comes back when the group ends.
  template <typename T, typename... Args>
  T* make(Args&&... args) {
    void* const place = take(sizeof(T), alignof(T));
    check<T>();
    if (place == nullptr) return nullptr;
    if constexpr (std::is_constructible_v<T, Args...>) {
      return ::new (place) T(std::forward<Args>(args)...);
    } else {
      return ::new (place) T{std::forward<Args>(args)...};
    }
  }
  // `count` of them, value-initialised.
  template <typename T>
  T* make_array(std::size_t count) {
    check<T>();
    if (count > room_bytes() / sizeof(T)) return nullptr;
    auto* const place = static_cast<T*>(take(count * sizeof(T), alignof(T)));
    if (place != nullptr) std::uninitialized_value_construct_n(place, count);
    return place;
  }

  void release() { block_.release(); }                      // before the guard's end
  void release_unchanged() { block_.release_unchanged(); }  // nothing was written: other nodes' copies stay good

 private:
  template <typename T>
  static constexpr void check() {
    static_assert(std::is_trivially_destructible_v<T>, "a group's objects end without destructors");
    static_assert(alignof(T) <= 16, "a group's block is aligned to 16 bytes wherever it is copied");
  }
  detail::group_block<Root>& head() const { return *reinterpret_cast<detail::group_block<Root>*>(block_.get()); }
  void* take(std::size_t bytes, std::size_t alignment) {
    detail::group_block<Root>& block = head();
    const std::size_t at = (block.used + alignment - 1) & ~(alignment - 1);
    if (at > block.room || bytes > block.room - at) return nullptr;
    block.used = at + bytes;
    return block_.get() + at;
  }

  mut_ref<std::byte[]> block_;
};

// Owns a group; see own_ptr, of whose block it is one.
template <typename Root>
class own_group {
 public:
  own_group() = default;
  explicit own_group(own_ptr<std::byte[]> block) : block_(std::move(block)) {}

  explicit operator bool() const { return static_cast<bool>(block_); }
  std::size_t size_bytes() const { return block_.size_bytes(); }
  unsigned home() const { return block_.home(); }
  void reset() { block_.reset(); }

  const own_ptr<std::byte[]>& block() const { return block_; }
  own_ptr<std::byte[]>& block() { return block_; }

 private:
  own_ptr<std::byte[]> block_;
};

template <typename Root>
inline constexpr bool travels<own_group<Root>> = true;

// A new group of at the most 64 MiB in all, homed at this node. Empty if memory is used up, or `bytes` too few or many.
template <typename Root, typename... Args>
[[nodiscard]] own_group<Root> make_group(std::size_t bytes, Args&&... args) {
  using block = detail::group_block<Root>;
  static_assert(std::is_trivially_destructible_v<Root>, "a group's objects end without destructors");
  static_assert(alignof(Root) <= 16, "a group's block is aligned to 16 bytes wherever it is copied");
  if (bytes < sizeof(block)) return {};
  const detail::borrowed fresh = detail::owned_new(bytes, dsm::source_location::current());
  if (fresh.data == nullptr) return {};
  std::memset(fresh.data, 0, bytes);
  ::new (fresh.data) block{sizeof(block), bytes, Root{std::forward<Args>(args)...}};
  return own_group<Root>(own_ptr<std::byte[]>::adopt(detail::owned_begin(fresh.pin), bytes));
}

template <typename Root>
[[nodiscard]] group_shared_ref<Root> borrow_shared(const own_group<Root>& group,
                                                   dsm::source_location where = dsm::source_location::current()) {
  return group_shared_ref<Root>(borrow_shared(group.block(), where));
}
template <typename Root>
[[nodiscard]] group_mut_ref<Root> borrow_mut(own_group<Root>& group,
                                             dsm::source_location where = dsm::source_location::current()) {
  return group_mut_ref<Root>(borrow_mut(group.block(), where));
}
template <typename Root>
[[nodiscard]] own_group<Root> transfer(own_group<Root>&& group, unsigned node,
                                       dsm::source_location where = dsm::source_location::current()) {
  return own_group<Root>(transfer(std::move(group.block()), node, where));
}
template <typename Root>
void prefetch(const own_group<Root>& group, dsm::source_location where = dsm::source_location::current()) {
  prefetch(group.block(), where);
}

}  // namespace dsm
#pragma GCC visibility pop
