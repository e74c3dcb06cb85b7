// Containers of the global heap, written with nothing but the headers beside this one.
//
//   dsm::vector<T>             an array that grows; one owner, which moves and travels as an own_ptr does
//   dsm::string                the same of characters
//   dsm::unordered_map<K, V>   for all nodes at once: its buckets lie on all nodes, each with a lock of its own
//   dsm::dist_array<T>         a fixed array in blocks over all nodes; work on it runs where its blocks are
//
// Elements, keys and values are trivially copyable: they live as bytes.
#pragma once

#include <dsm/guarded.h>
#include <dsm/spawn.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dsm {

#pragma GCC visibility push(default)
namespace detail {
[[noreturn]] void end_for_index(const char* what, std::size_t index, std::size_t size, call_site site);
}  // namespace detail
#pragma GCC visibility pop

// --- vector ---------------------------------------------------------------------------------------------------------

// Read it through view(), change it through edit(); what changes its size may move its elements to this node. As with
// one own_ptr, threads that use the same vector and change it need a lock. Running out of memory throws std::bad_alloc.
template <typename T>
class vector {
  static_assert(std::is_trivially_copyable_v<T> && travels<T>,
                "elements are copied as bytes, which mean the same on all nodes (a function's address does not)");

 public:
  vector() = default;
  explicit vector(std::span<const T> from) { assign(from); }
  vector(vector&& other) noexcept : size_(std::exchange(other.size_, 0)), block_(std::move(other.block_)) {}
  vector& operator=(vector&& other) noexcept {
    size_ = std::exchange(other.size_, 0);
    block_ = std::move(other.block_);
    return *this;
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t capacity() const { return block_ ? block_.size() : 0; }
  unsigned home() const { return block_ ? block_.home() : node(); }

  // All elements, as long as the guard lives. Of an empty vector an empty guard.
  [[nodiscard]] shared_ref<T[]> view(dsm::source_location where = dsm::source_location::current()) const {
    if (size_ == 0) return {};
    return {detail::borrow_owned_shared(block_.bits(), block_.size_bytes(), where), size_};
  }
  [[nodiscard]] mut_ref<T[]> edit(dsm::source_location where = dsm::source_location::current()) {
    if (size_ == 0) return {};
    return {detail::borrow_owned_mut(&block_.bits(), block_.size_bytes(), where), size_, true};
  }
  // An index that is too large ends the program with one line; view() and edit() do not look.
  T at(std::size_t index, dsm::source_location where = dsm::source_location::current()) const {
    if (index >= size_) detail::end_for_index("dsm::vector::at", index, size_, where);
    return view(where)[index];
  }
  void set(std::size_t index, const T& value, dsm::source_location where = dsm::source_location::current()) {
    if (index >= size_) detail::end_for_index("dsm::vector::set", index, size_, where);
    edit(where)[index] = value;
  }

  void reserve(std::size_t wanted) {
    if (wanted > capacity()) move_to(wanted);
  }
  void push_back(const T& value) { append({&value, 1}); }
  void append(std::span<const T> more) {
    if (more.empty()) return;
    if (size_ + more.size() > capacity()) move_to(std::max(size_ + more.size(), 2 * capacity()));
    const std::size_t before = std::exchange(size_, size_ + more.size());
    const auto all = edit();
    std::copy(more.begin(), more.end(), all.begin() + before);
  }
  void assign(std::span<const T> from) {
    size_ = 0;
    append(from);
  }
  void pop_back(dsm::source_location where = dsm::source_location::current()) {
    if (size_ == 0) detail::end_for_index("dsm::vector::pop_back", 0, 0, where);
    --size_;
  }
  void clear() {
    size_ = 0;
    block_.reset();
  }
  std::vector<T> copy(dsm::source_location where = dsm::source_location::current()) const {
    const auto all = view(where);
    return std::vector<T>(all.begin(), all.end());
  }
  // Its elements move to that node, which is where they should be used.
  void send_to(unsigned node) {
    if (block_) block_ = transfer(std::move(block_), node);
  }

 private:
  void move_to(std::size_t capacity) {
    auto wider = make_owned<T[]>(capacity);
    if (!wider) throw std::bad_alloc();
    if (size_ != 0) {
      const auto from = view();
      const auto to = borrow_mut(wider);
      std::copy_n(from.begin(), size_, to.begin());
    }
    block_ = std::move(wider);
  }

  std::size_t size_ = 0;
  own_ptr<T[]> block_;
};
template <typename T>
inline constexpr bool travels<vector<T>> = true;

class string {
 public:
  string() = default;
  string(std::string_view text) : letters_(std::span<const char>(text)) {}
  std::size_t size() const { return letters_.size(); }
  bool empty() const { return letters_.empty(); }
  std::string str() const {
    const auto all = letters_.view();
    return std::string(all.begin(), all.end());
  }
  string& operator+=(std::string_view more) {
    letters_.append(std::span<const char>(more));
    return *this;
  }
  void send_to(unsigned node) { letters_.send_to(node); }
  friend bool operator==(const string& one, std::string_view other) {
    const auto all = one.letters_.view();
    return std::string_view(all.get(), one.size()) == other;
  }

 private:
  vector<char> letters_;
};
template <>
inline constexpr bool travels<string> = true;

// --- unordered_map --------------------------------------------------------------------------------------------------

// Made by one node with dsm::make, and known to the others by publish(); all its members are thread-safe, on all nodes.
// A bucket is a guarded value: what works on an entry fetches it with the bucket's lock in one chain, and writes it
// back with the release. The number of buckets is chosen once; a bucket that is full goes on in a further one, and all
// but the last of such a chain are full: what is erased is replaced by the chain's last entry, and a further bucket
// that has become empty is freed.
template <typename K, typename V, typename Hash = std::hash<K>>
class unordered_map {
  static_assert(std::is_trivially_copyable_v<K> && travels<K>,
                "keys are copied as bytes, which mean the same on all nodes");
  static_assert(std::is_trivially_copyable_v<V> && travels<V>,
                "values are copied as bytes, which mean the same on all nodes");
  static constexpr std::size_t entry_bytes = sizeof(std::pair<K, V>);
  static constexpr std::size_t each = entry_bytes >= 120 ? 4 : 480 / entry_bytes;
  struct bucket {
    std::uint32_t count = 0;
    guarded<bucket>* next = nullptr;  // reached under this bucket's lock only
    K keys[each];
    V values[each];
  };
  using guarded_bucket = guarded<bucket>;

 public:
  // For about so many entries.
  explicit unordered_map(std::size_t expected) : buckets_(std::max<std::size_t>(expected / (each / 2 + 1), 1)) {
    heads_ = static_cast<guarded_bucket**>(alloc(detail::array_bytes(buckets_, sizeof(guarded_bucket*))));
    if (heads_ == nullptr) throw std::bad_alloc();
    std::fill_n(heads_, buckets_, nullptr);
    try {
      for (std::size_t i = 0; i < buckets_; ++i) heads_[i] = make(static_cast<unsigned>(i % nodes()));
    } catch (...) {
      release();
      throw;
    }
  }
  ~unordered_map() { release(); }
  unordered_map(const unordered_map&) = delete;
  unordered_map& operator=(const unordered_map&) = delete;

  // fn(V&) on the key's value, which is made from V{} first if there is none; under its bucket's lock. fn's result.
  template <typename F>
  decltype(auto) update(const K& key, F&& fn) {
    auto first = head(key).lock();
    return update_in(*first, detail::program_node(home(&head(key))), key, std::forward<F>(fn));
  }
  void insert_or_assign(const K& key, const V& value) {
    update(key, [&](V& old) { old = value; });
  }
  // The value as it was in some moment since the call. Takes no lock, while the entries fit one bucket.
  std::optional<V> find(const K& key) const {
    {
      const auto seen = head(key).read();
      if (const std::size_t i = index_in(*seen, key); i != seen->count) return seen->values[i];
      if (seen->next == nullptr) return std::nullopt;
    }
    auto first = head(key).lock();
    std::optional<V> found = find_in(*first, key);
    first.release_unchanged();
    return found;
  }
  bool contains(const K& key) const { return find(key).has_value(); }
  // Whether it was there.
  bool erase(const K& key) {
    auto first = head(key).lock();
    const bool was = erase_in(*first, key);
    if (!was) first.release_unchanged();
    return was;
  }
  // fn(const K&, const V&) on all entries, bucket by bucket; others may change what fn has not come to.
  template <typename F>
  void for_each(F&& fn) const {
    for (std::size_t i = 0; i < buckets_; ++i) {
      auto first = heads_[i]->lock();
      each_in(*first, fn);
      first.release_unchanged();
    }
  }
  std::size_t size() const {
    std::size_t count = 0;
    for_each([&](const K&, const V&) { ++count; });
    return count;
  }

 private:
  static guarded_bucket* make(unsigned node) {
    guarded_bucket* const made = make_object_on<guarded_bucket>(node);
    if (made == nullptr) throw std::bad_alloc();
    return made;
  }
  guarded_bucket& head(const K& key) const { return *heads_[(Hash{}(key)*0x9E37'79B9'7F4A'7C15U >> 20) % buckets_]; }
  static std::size_t index_in(const bucket& one, const K& key) {
    return static_cast<std::size_t>(std::find(one.keys, one.keys + one.count, key) - one.keys);
  }
  template <typename F>
  static decltype(auto) update_in(bucket& one, unsigned node, const K& key, F&& fn) {
    const std::size_t i = index_in(one, key);
    if (i != one.count) return std::forward<F>(fn)(one.values[i]);
    if (one.next == nullptr && one.count < each) {
      one.keys[one.count] = key;
      one.values[one.count] = V{};
      return std::forward<F>(fn)(one.values[one.count++]);
    }
    if (one.next == nullptr) one.next = make(node);
    auto further = one.next->lock();
    return update_in(*further, node, key, std::forward<F>(fn));
  }
  static std::optional<V> find_in(const bucket& one, const K& key) {
    if (const std::size_t i = index_in(one, key); i != one.count) return one.values[i];
    return one.next == nullptr ? std::nullopt : find_in(*one.next->read(), key);
  }
  static bool erase_in(bucket& one, const K& key) {
    if (const std::size_t i = index_in(one, key); i != one.count) {
      take_last(one, one.keys[i], one.values[i]);
      return true;
    }
    if (one.next == nullptr) return false;
    auto further = one.next->lock();
    const bool was = erase_in(*further, key);
    let_go(one, further, was);
    return was;
  }
  // Takes the last entry of the chain off it; false: `one` itself has not been changed by that.
  static bool take_last(bucket& one, K& key, V& value) {
    if (one.next == nullptr) {
      --one.count;
      key = one.keys[one.count];
      value = one.values[one.count];
      return true;
    }
    auto further = one.next->lock();
    return let_go(one, further, take_last(*further, key, value));
  }
  // Ends the work with the bucket after `one`, which goes if it is empty: then `one` has been changed, and it says so.
  static bool let_go(bucket& one, mut_ref<bucket>& further, bool changed) {
    if (further->count != 0) {
      if (!changed) further.release_unchanged();
      return false;
    }
    further.release();
    destroy_object(std::exchange(one.next, nullptr));
    return true;
  }
  template <typename F>
  static void each_in(const bucket& one, F&& fn) {
    for (std::size_t i = 0; i < one.count; ++i) fn(one.keys[i], one.values[i]);
    if (one.next != nullptr) each_in(*one.next->read(), fn);
  }

  void release() {
    for (std::size_t i = 0; i < buckets_; ++i) {
      for (guarded_bucket* at = heads_[i]; at != nullptr;) {
        guarded_bucket* const next = at->read()->next;
        destroy_object(at);
        at = next;
      }
    }
    dsm::free(heads_);
  }

  std::size_t buckets_;
  guarded_bucket** heads_;  // constant once made, so every node has its copy of it
};

// --- dist_array -----------------------------------------------------------------------------------------------------

// `size` elements, in one block on each node, zero at first. Made by one node with dsm::make. With memory nodes only in
// a job of one program node, since work goes to other nodes (<dsm/spawn.h>).
template <typename T>
class dist_array {
  static_assert(std::is_trivially_copyable_v<T> && travels<T>,
                "elements are copied as bytes, which mean the same on all nodes (a function's address does not)");
  static constexpr unsigned most = 64;

 public:
  explicit dist_array(std::size_t size)
      : size_(size), block_(std::max<std::size_t>(size / nodes() + (size % nodes() != 0 ? 1 : 0), 1)) {
    if (size > SIZE_MAX / 2 / sizeof(T)) throw std::bad_alloc();
    try {
      for (unsigned n = 0; n < nodes() && begin_of(n) < size_; ++n) make_block(n);
    } catch (...) {
      release();
      throw;
    }
  }
  ~dist_array() { release(); }
  dist_array(const dist_array&) = delete;
  dist_array& operator=(const dist_array&) = delete;

  std::size_t size() const { return size_; }
  // For plain access, hints, atomics and calls, as any global memory. at() ends the program with one line if the index
  // is too large; operator[] and owner() do not look.
  T* at(std::size_t index, dsm::source_location where = dsm::source_location::current()) const {
    if (index >= size_) detail::end_for_index("dsm::dist_array::at", index, size_, where);
    return place(index);
  }
  T& operator[](std::size_t index) const { return *place(index); }
  unsigned owner(std::size_t index) const { return static_cast<unsigned>(index / block_); }
  std::span<T> local() const { return {blocks_[node()], length_of(node())}; }

  // fn(index, element) on every element, on its owner's node, all nodes at once; returns when all have. Plain access:
  // a node that has its block in its hands already works at full speed. fn is copied to the nodes as bytes: a function
  // of the program, or an object that captures values, and global pointers, but no references.
  template <typename F>
  void for_each(F fn) const {
    std::vector<future<void>> all;
    for (unsigned n = 0; n < nodes() && begin_of(n) < size_; ++n) {
      all.push_back(spawn_on(
          n,
          [](T* block, std::size_t count, std::size_t first, F each) {
            for (std::size_t i = 0; i < count; ++i) each(first + i, block[i]);
          },
          blocks_[n], length_of(n), begin_of(n), fn));
    }
    for (auto& one : all) one.get();
  }

 private:
  T* place(std::size_t index) const { return blocks_[index / block_] + index % block_; }
  void make_block(unsigned n) {
    const std::size_t bytes = (length_of(n) * sizeof(T) + 4095) / 4096 * 4096;
    blocks_[n] = static_cast<T*>(alloc(bytes, 4096, on_node(n)));
    if (blocks_[n] == nullptr) throw std::bad_alloc();
    spawn_on(
        n, [](T* block, std::size_t count) { std::fill_n(block, count, T{}); }, blocks_[n], length_of(n))
        .get();
  }
  void release() {
    for (T* block : blocks_) dsm::free(block);
  }
  std::size_t begin_of(unsigned n) const { return block_ * n; }
  std::size_t length_of(unsigned n) const { return begin_of(n) < size_ ? std::min(block_, size_ - begin_of(n)) : 0; }

  std::size_t size_, block_;
  T* blocks_[most]{};
};

}  // namespace dsm
