// Hints: who uses which object. A borrow works with a whole object, by one-sided operations instead of page faults, and
// no other node is told: who has an old copy finds out by itself (only if an object that has an owner is changed by its
// address do all nodes forget it, since owners' copies are not looked up again). Hints mix with plain loads and stores:
// a plain access to an object's page makes all nodes finish their borrows there first, so a wrong or missing hint costs
// time only.
//
//   auto* a = dsm::make<Account>();                              // any global pointer (L1)
//   { auto r = dsm::borrow_shared(a);  print(r->balance); }      // the object whole, as it was when the scope began
//   { auto w = dsm::borrow_mut(a);     w->balance += 10;  }      // nobody else changes it meanwhile
//   dsm::transfer(a, node);                                      // from now on its borrows there need no network
//
//   auto p = dsm::make_owned<Account>();                         // owned (L2): one owner, which may be moved and sent
//   { auto r = dsm::borrow_shared(p); }                          // a repeated one needs no network at all
//   { auto w = dsm::borrow_mut(p); }                             // on another node than its home: it moves here
//
// Rules. A borrow names a whole object of at the most 64 MiB; two borrows name the same bytes or disjoint ones. What is
// borrowed is used through the guard only, never through the plain pointer inside the guard's scope. A shared borrow is
// a snapshot: it does not see, and does not hold off, a mutable borrow on another node (but for an object of more than
// 1 KiB that is borrowed at its home, where it is read in place: the other's end waits for that of the shared borrow).
// It waits while a thread of the object's home changes it there. A thread that borrows several
// objects to change them does so in an order that all threads keep; those that share 64 aligned bytes (small ones from
// plain dsm::alloc) wait for each other as if they were one. A broken rule ends the program with one line that
// names both places, where the library can see it (DSM_CHECK=1 sees more, and says who called, for some 80 ns a
// borrow). A thread that touches an object's page plainly inside its borrow, beside the object, has the page opened to
// its process: until the borrow ends, plain accesses of that process's other threads to the object are not held off
// (those of other nodes are). In a job with one program node nothing moves and no page is ever closed: borrows exclude
// each other there, and do not keep plain accesses off.
//
// The guard's address is not the object's: an object must be able to live anywhere, so its bytes are copied. Guards are
// for one thread at a time; borrowing different objects is thread-safe, and so is borrowing one object by its address.
// One own_ptr is like one pointer: threads that use the same one, and one of them changes it, need a lock. None of this
// may be called from a signal handler.
#pragma once

#include <dsm/dsm.h>
#include <dsm/source_location.h>

#include <cstddef>
#include <cstdint>
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
  constexpr call_site(dsm::source_location where) : file(where.file_name()), line(where.line()) {}
};
struct borrowed {
  void* data = nullptr;
  void* pin = nullptr;
};

borrowed borrow_shared(const void* object, std::size_t bytes, call_site site);
borrowed borrow_mut(void* object, std::size_t bytes, call_site site);
void borrow_shared_each(const void* const* objects, borrowed* to, std::size_t count, std::size_t bytes, call_site site);
void end_shared(void* pin);
void end_mut(void* pin, bool changed);
void end_owned_mut(void* pin, bool changed);
void transfer(void* object, std::size_t bytes, unsigned node, call_site site);

// A look at an object where it lies. `data` is nullptr if it cannot be looked at so.
struct glance {
  const void* data = nullptr;
  std::uint64_t version = 0;  // the words of its header and its page, before
  std::uint64_t page = 0;
};
glance begin_glance(const void* object, std::size_t bytes);
bool end_glance(const glance& seen);  // whether nobody changed it meanwhile

}  // namespace detail

namespace detail {
template <typename T>
inline constexpr bool is_function_pointer = std::is_function_v<std::remove_pointer_t<T>>;
}  // namespace detail

// Whether an object may live on as a copy of its bytes, on any node. A function's address is another one on each node;
// within a type of your own nothing can see it. Say so for one that holds owners:
//   template <> inline constexpr bool dsm::travels<Tree> = true;
template <typename T>
inline constexpr bool travels =
    std::is_trivially_copyable_v<T> && !detail::is_function_pointer<std::remove_all_extents_t<T>> &&
    !std::is_member_function_pointer_v<std::remove_all_extents_t<T>>;

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
                                          dsm::source_location where = dsm::source_location::current()) {
  static_assert(travels<T>, "the object is copied as bytes; see dsm::travels");
  return {detail::borrow_shared(object, sizeof(T), where), 1};
}
template <typename T>
[[nodiscard]] shared_ref<T[]> borrow_shared(std::span<const T> objects,
                                            dsm::source_location where = dsm::source_location::current()) {
  static_assert(travels<T>, "the objects are copied as bytes; see dsm::travels");
  return {detail::borrow_shared(objects.data(), objects.size_bytes(), where), objects.size()};
}
template <typename T>
[[nodiscard]] mut_ref<T> borrow_mut(T* object, dsm::source_location where = dsm::source_location::current()) {
  static_assert(travels<T>, "the object is copied as bytes; see dsm::travels");
  return {detail::borrow_mut(object, sizeof(T), where), 1, false};
}
template <typename T>
[[nodiscard]] mut_ref<T[]> borrow_mut(std::span<T> objects,
                                      dsm::source_location where = dsm::source_location::current()) {
  static_assert(travels<T> && !std::is_const_v<T>, "the objects are copied as bytes; see dsm::travels");
  return {detail::borrow_mut(objects.data(), objects.size_bytes(), where), objects.size(), false};
}

// What look(*object) returns, of the object as it was at some moment since the call: a shared borrow for those who want
// a little of an object. One of at most 1 KiB that is homed here and lies in one page is looked at where it lies,
// without a copy and without a lock. If somebody changes it meanwhile, what `look` returned is thrown away, and it is
// called again with a borrow. So it may see bytes that do not belong together once: it must not follow a pointer in
// them, nor index by them or loop on them without a bound of its own, nor throw, nor have an effect that the second
// call does not undo. What it returns must not point into the object.
//
//   const std::uint64_t balance = dsm::peek(account, [](const Account& a) noexcept { return a.balance; });
template <typename T, typename Look>
[[nodiscard]] auto peek(const T* object, Look look, dsm::source_location where = dsm::source_location::current()) {
  static_assert(travels<T>, "the object is copied as bytes; see dsm::travels");
  static_assert(std::is_nothrow_invocable_v<Look&, const T&>, "look() may see a half changed object: make it noexcept");
  static_assert(!std::is_reference_v<std::invoke_result_t<Look&, const T&>> &&
                    !std::is_void_v<std::invoke_result_t<Look&, const T&>>,
                "look() returns what it has seen, by value");
  if (const detail::glance at = detail::begin_glance(object, sizeof(T)); at.data != nullptr) {
    auto seen = look(*static_cast<const T*>(at.data));
    if (detail::end_glance(at)) return seen;
  }
  return look(*borrow_shared(object, where));
}

// Many objects at once, refs[i] of objects[i]: one chain of operations for each home tells which copies are current and
// fetches the others, where a borrow of each would take a round trip. Each is a snapshot of some moment since the call.
template <typename T>
[[nodiscard]] std::vector<shared_ref<T>> borrow_shared_each(
    std::span<const T* const> objects, dsm::source_location where = dsm::source_location::current()) {
  static_assert(travels<T>, "the objects are copied as bytes; see dsm::travels");
  std::vector<detail::borrowed> from(objects.size());
  detail::borrow_shared_each(reinterpret_cast<const void* const*>(objects.data()), from.data(), objects.size(),
                             sizeof(T), where);
  std::vector<shared_ref<T>> refs;
  refs.reserve(objects.size());
  for (const detail::borrowed& one : from) refs.push_back({one, 1});
  return refs;
}

// Makes `node` the object's standing owner: its later borrows of the object need no network, until another node borrows
// it. Waits for a mutable borrow that is under way. Without effect on an object that does not begin at a multiple of 64
// or has less than 64 bytes: others may begin in its 64 bytes, and they have one owner at a time.
template <typename T>
void transfer(T* object, unsigned node, dsm::source_location where = dsm::source_location::current()) {
  detail::transfer(object, sizeof(T), node, where);
}
template <typename T>
void transfer(std::span<T> objects, unsigned node, dsm::source_location where = dsm::source_location::current()) {
  detail::transfer(objects.data(), objects.size_bytes(), node, where);
}

}  // namespace dsm
#pragma GCC visibility pop

#include <dsm/group.h>
#include <dsm/owned.h>
