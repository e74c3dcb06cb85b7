// How app_matmul reaches the tiles, once for each way of sharing memory. A, B and C begin in node 0's memory.
//
//   a(row, column, f), b(...)      f(the tile's elements), to be read
//   store(row, column, sum)        C(row, column) = sum
//   hand_over()                    on every node, when all is stored
//   collect()                      on node 0, after that: what was stored is in product.c
//   kProductStays                  whether C is left where it was computed until then
//
// And for sums that several workers have a part of: each has room for as many tiles as C has, in its node's memory.
//
//   put_part(worker, tile, sum)    its part of tile number `tile`
//   part(worker, tile, f)          f(that), after a barrier
#pragma once

#include <dsm/hints.h>

#include <cstring>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/matmul/matrix.h"

namespace app {

template <typename T>
struct Product {
  Matrix<T> a, b, c;
};

struct Settings {
  std::size_t size = 1024;
  std::string element = "double";
  std::size_t full_check = 512;
  unsigned rounds = 20;
  bool hints = true;   // page mode: prefetch and release
  bool parts = false;  // Strassen's way, whose sums are in parts
};

// Room for each worker's parts of `count` tiles, in its node's memory.
template <typename T>
T** parts_of(Job& job, std::size_t count) {
  T** const all = job.shared<T*>(job.workers());
  for (unsigned worker = 0; worker < job.workers(); ++worker) {
    if (job.is_own(worker / job.threads())) all[worker] = job.pages<T>(count * kTileElements);
  }
  job.sync_nodes();
  return all;
}

// Native and page mode. Page mode fetches whole tiles, and gives a finished one back at once.
template <typename T>
class PlainTiles {
 public:
  static constexpr bool kProductStays = false;

  PlainTiles(Job& job, const Product<T>& product, const Settings& settings)
      : product_(product), hints_(settings.hints && !job.native() && job.nodes() > 1) {
    if (settings.parts) parts_ = parts_of<T>(job, product.c.tiles * product.c.tiles);
  }
  template <typename F>
  void a(std::size_t row, std::size_t column, F f) {
    read(product_.a.tile(row, column), f);
  }
  template <typename F>
  void b(std::size_t row, std::size_t column, F f) {
    read(product_.b.tile(row, column), f);
  }
  void put_part(unsigned worker, std::size_t tile, const T* sum) {
    T* const target = parts_[worker] + tile * kTileElements;
    std::memcpy(target, sum, kBytes);
    if (hints_) dsm::release(target, kBytes);
  }
  template <typename F>
  void part(unsigned worker, std::size_t tile, F f) {
    read(parts_[worker] + tile * kTileElements, f);
  }
  void store(std::size_t row, std::size_t column, const T* sum) {
    T* const target = product_.c.tile(row, column);
    if (hints_) dsm::prefetch(target, kBytes, dsm::access::write);
    std::memcpy(target, sum, kBytes);
    if (hints_) dsm::release(target, kBytes);
  }
  void hand_over() {}
  void collect() {}

 private:
  static constexpr std::size_t kBytes = kTileElements * sizeof(T);
  template <typename F>
  void read(const T* tile, F f) {
    if (hints_) dsm::prefetch(tile, kBytes);
    f(tile);
  }

  const Product<T>& product_;
  bool hints_;
  T** parts_ = nullptr;
};

// L1: a tile is an object.
template <typename T>
class HintedTiles {
 public:
  static constexpr bool kProductStays = false;

  HintedTiles(Job& job, const Product<T>& product, const Settings& settings) : product_(product) {
    const std::size_t count = product.c.tiles * product.c.tiles;
    for (const Matrix<T>& matrix : {product.a, product.b, product.c}) {
      for (std::size_t i = 0; job.node() == 0 && i < count; ++i) load(matrix.elements + i * kTileElements);
    }
    if (settings.parts) parts_ = parts_of<T>(job, count);
    for (std::size_t i = 0; settings.parts && i < job.own_workers() * count; ++i) {
      first_borrow(parts_[job.first_worker() + i / count] + i % count * kTileElements);
    }
    job.sync_nodes();
  }
  template <typename F>
  void a(std::size_t row, std::size_t column, F f) {
    f(dsm::borrow_shared(whole<const T>(product_.a.tile(row, column))).get());
  }
  template <typename F>
  void b(std::size_t row, std::size_t column, F f) {
    f(dsm::borrow_shared(whole<const T>(product_.b.tile(row, column))).get());
  }
  void store(std::size_t row, std::size_t column, const T* sum) { write(product_.c.tile(row, column), sum); }
  void hand_over() {}
  void collect() {}
  void put_part(unsigned worker, std::size_t tile, const T* sum) { write(parts_[worker] + tile * kTileElements, sum); }
  template <typename F>
  void part(unsigned worker, std::size_t tile, F f) {
    f(dsm::borrow_shared(whole<const T>(parts_[worker] + tile * kTileElements)).get());
  }

 private:
  template <typename E>
  static std::span<E> whole(E* tile) {
    return {tile, kTileElements};
  }
  static void write(T* tile, const T* sum) {
    const auto target = dsm::borrow_mut(whole(tile));
    std::memcpy(target.get(), sum, target.size() * sizeof(T));
  }
  // The program that makes the matrices would write them so.
  static void load(T* tile) {
    const std::vector<T> elements(tile, tile + kTileElements);
    write(tile, elements.data());
  }
  static void first_borrow(T* tile) { dsm::borrow_mut(whole(tile)).release_unchanged(); }

  const Product<T>& product_;
  T** parts_ = nullptr;
};

// L2: a tile has an owner; a tile of C is an object of the node that computes it, there and zero before the product
// begins as C is in the other modes. Its owner goes into C when all is done: owners that all nodes write side by side
// would make a page of them move with every tile.
template <typename T>
class OwnedTiles {
 public:
  static constexpr bool kProductStays = true;

  OwnedTiles(Job& job, const Product<T>& product, const Settings& settings)
      : job_(job), product_(product), a_(own(job, product.a)), b_(own(job, product.b)) {
    const std::size_t count = product.c.tiles * product.c.tiles;
    c_ = job.shared<Owner>(count, dsm::on_node(0));
    for (std::size_t i = 0; i < (count + job.nodes() - 1) / job.nodes(); ++i) {
      spare_.push_back(dsm::make_owned<T[]>(kTileElements));
    }
    for (unsigned worker = 0; settings.parts && worker < job.workers(); ++worker) {
      const unsigned node = worker / job.threads();
      parts_.push_back(job.shared<Owner>(count, dsm::on_node(node)));
      for (std::size_t i = 0; job.is_own(node) && i < count; ++i) parts_[worker][i] = made(job);
    }
    job.sync_nodes();
  }
  template <typename F>
  void a(std::size_t row, std::size_t column, F f) {
    f(dsm::borrow_shared(owner(a_, row, column)).get());
  }
  template <typename F>
  void b(std::size_t row, std::size_t column, F f) {
    f(dsm::borrow_shared(owner(b_, row, column)).get());
  }
  void store(std::size_t row, std::size_t column, const T* sum) {
    Owner tile = take_spare();
    write(tile, sum);
    const std::lock_guard guard(storing_);
    stored_.emplace_back(row * product_.c.tiles + column, std::move(tile));
  }
  void hand_over() {
    for (auto& [tile, owner] : stored_) c_[tile] = std::move(owner);
    stored_.clear();
  }
  void put_part(unsigned worker, std::size_t tile, const T* sum) { write(parts_[worker][tile], sum); }
  template <typename F>
  void part(unsigned worker, std::size_t tile, F f) {
    f(dsm::borrow_shared(parts_[worker][tile]).get());
  }
  void collect() {
    for (std::size_t i = 0; i < product_.c.tiles * product_.c.tiles; ++i) {
      const auto c = dsm::borrow_shared(c_[i]);
      std::memcpy(product_.c.elements + i * kTileElements, c.get(), c.size() * sizeof(T));
    }
  }

 private:
  using Owner = dsm::own_ptr<T[]>;
  static Owner made(const Job& job) {
    Owner fresh = dsm::make_owned_for_overwrite<T[]>(kTileElements);
    if (!fresh) job.die("global memory is used up. Take a smaller matrix or a larger heap.");
    return fresh;
  }
  static void write(Owner& tile, const T* sum) {
    const auto target = dsm::borrow_mut(tile);
    std::memcpy(target.get(), sum, target.size() * sizeof(T));
  }
  static Owner* own(Job& job, const Matrix<T>& matrix) {
    const std::size_t count = matrix.tiles * matrix.tiles;
    auto* const owners = job.shared<Owner>(count, dsm::on_node(0));
    for (std::size_t i = 0; job.node() == 0 && i < count; ++i) {
      owners[i] = made(job);
      std::memcpy(dsm::borrow_mut(owners[i]).get(), matrix.elements + i * kTileElements, kTileElements * sizeof(T));
    }
    return owners;
  }
  // Some nodes have a tile more than others.
  Owner take_spare() {
    const std::lock_guard guard(storing_);
    if (spare_.empty()) return made(job_);
    Owner tile = std::move(spare_.back());
    spare_.pop_back();
    if (!tile) job_.die("global memory is used up. Take a smaller matrix or a larger heap.");
    return tile;
  }
  Owner& owner(Owner* owners, std::size_t row, std::size_t column) const {
    return owners[row * product_.c.tiles + column];
  }

  Job& job_;
  const Product<T>& product_;
  Owner *a_, *b_, *c_;
  std::mutex storing_;
  std::vector<Owner> spare_;                           // tiles of C that this node will compute
  std::vector<std::pair<std::size_t, Owner>> stored_;  // tiles of C that this node has computed
  std::vector<Owner*> parts_;                          // by worker
};

}  // namespace app
