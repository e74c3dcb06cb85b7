// How app_matmul reaches the tiles, once for each way of sharing memory. A, B and C begin in node 0's memory.
//
//   multiply(row, k, column, sum)  sum += A(row, k) * B(k, column)
//   store(row, column, sum)        C(row, column) = sum
//   collect()                      on node 0, in the end: what was stored is in product.c
#pragma once

#include <dsm/hints.h>

#include <cstring>
#include <span>

#include "bench/apps/frame/job.h"
#include "bench/apps/matmul/matrix.h"

namespace app {

template <typename T>
struct Product {
  Matrix<T> a, b, c;
};

// Native and page mode. Page mode fetches whole tiles, and gives a finished one back at once.
template <typename T>
class PlainTiles {
 public:
  PlainTiles(Job& job, const Product<T>& product, bool hints) : product_(product), hints_(hints && !job.native()) {}
  void multiply(std::size_t row, std::size_t k, std::size_t column, T* sum) {
    const T* const a = product_.a.tile(row, k);
    const T* const b = product_.b.tile(k, column);
    if (hints_) {
      dsm::prefetch(a, kBytes);
      dsm::prefetch(b, kBytes);
    }
    multiply_tile(a, b, sum);
  }
  void store(std::size_t row, std::size_t column, const T* sum) {
    T* const target = product_.c.tile(row, column);
    if (hints_) dsm::prefetch(target, kBytes, dsm::access::write);
    std::memcpy(target, sum, kBytes);
    if (hints_) dsm::release(target, kBytes);
  }
  void collect() {}

 private:
  static constexpr std::size_t kBytes = kTileElements * sizeof(T);
  const Product<T>& product_;
  bool hints_;
};

// L1: a tile is an object.
template <typename T>
class HintedTiles {
 public:
  HintedTiles(Job&, const Product<T>& product, bool /*hints*/) : product_(product) {}
  void multiply(std::size_t row, std::size_t k, std::size_t column, T* sum) {
    const auto a = dsm::borrow_shared(std::span<const T>{product_.a.tile(row, k), kTileElements});
    const auto b = dsm::borrow_shared(std::span<const T>{product_.b.tile(k, column), kTileElements});
    multiply_tile(a.get(), b.get(), sum);
  }
  void store(std::size_t row, std::size_t column, const T* sum) {
    const auto c = dsm::borrow_mut(std::span<T>{product_.c.tile(row, column), kTileElements});
    std::memcpy(c.get(), sum, c.size() * sizeof(T));
  }
  void collect() {}

 private:
  const Product<T>& product_;
};

// L2: a tile has an owner; a tile of C moves to the node that computes it.
template <typename T>
class OwnedTiles {
 public:
  OwnedTiles(Job& job, const Product<T>& product, bool /*hints*/)
      : product_(product), a_(own(job, product.a)), b_(own(job, product.b)), c_(own(job, product.c)) {
    job.sync_nodes();
  }
  void multiply(std::size_t row, std::size_t k, std::size_t column, T* sum) {
    const auto a = dsm::borrow_shared(owner(a_, row, k));
    const auto b = dsm::borrow_shared(owner(b_, k, column));
    multiply_tile(a.get(), b.get(), sum);
  }
  void store(std::size_t row, std::size_t column, const T* sum) {
    const auto c = dsm::borrow_mut(owner(c_, row, column));
    std::memcpy(c.get(), sum, c.size() * sizeof(T));
  }
  void collect() {
    for (std::size_t i = 0; i < product_.c.tiles * product_.c.tiles; ++i) {
      const auto c = dsm::borrow_shared(c_[i]);
      std::memcpy(product_.c.elements + i * kTileElements, c.get(), c.size() * sizeof(T));
    }
  }

 private:
  using Owner = dsm::own_ptr<T[]>;
  static Owner* own(Job& job, const Matrix<T>& matrix) {
    const std::size_t count = matrix.tiles * matrix.tiles;
    auto* const owners = job.shared<Owner>(count, dsm::on_node(0));
    for (std::size_t i = 0; job.node() == 0 && i < count; ++i) {
      owners[i] = dsm::make_owned<T[]>(kTileElements);
      if (!owners[i]) job.die("global memory is used up. Take a smaller matrix or a larger heap.");
      std::memcpy(dsm::borrow_mut(owners[i]).get(), matrix.elements + i * kTileElements, kTileElements * sizeof(T));
    }
    return owners;
  }
  Owner& owner(Owner* owners, std::size_t row, std::size_t column) const {
    return owners[row * product_.c.tiles + column];
  }

  const Product<T>& product_;
  Owner *a_, *b_, *c_;
};

}  // namespace app
