// Strassen's product, three levels at once: a matrix is 8 * 8 blocks, and each of 343 leaf products is a signed sum of
// up to 8 blocks of A times one of B, which goes with signs into up to 8 blocks of C. A leaf's sums are made where the
// leaf is computed; each worker gathers its leaves' share of C, and in the end each adds up its share of C's tiles.
#pragma once

#include <cstddef>
#include <vector>

#include "bench/apps/matmul/matrix.h"

namespace app {

inline constexpr std::size_t kStrassenLevels = 3, kStrassenBlocks = 8, kStrassenLeaves = 343;

// Signs of the seven products' operands and results, by quarter: upper left, upper right, lower left, lower right.
inline constexpr int kLeft[7][4] = {{1, 0, 0, 1}, {0, 0, 1, 1},  {1, 0, 0, 0}, {0, 0, 0, 1},
                                    {1, 1, 0, 0}, {-1, 0, 1, 0}, {0, 1, 0, -1}};
inline constexpr int kRight[7][4] = {{1, 0, 0, 1}, {1, 0, 0, 0}, {0, 1, 0, -1}, {-1, 0, 1, 0},
                                     {0, 0, 0, 1}, {1, 1, 0, 0}, {0, 0, 1, 1}};
inline constexpr int kResult[7][4] = {{1, 0, 0, 1},  {0, 0, 1, -1}, {0, 1, 0, 1}, {1, 0, 1, 0},
                                      {-1, 1, 0, 0}, {0, 0, 0, 1},  {1, 0, 0, 0}};

// The sign with which block (row, column) takes part in a leaf.
inline int sign_of(const int (&signs)[7][4], std::size_t leaf, std::size_t row, std::size_t column) {
  int sign = 1;
  for (std::size_t level = 0, half = kStrassenBlocks / 2; level < kStrassenLevels; ++level, half /= 2) {
    const std::size_t quarter = 2 * (row / half % 2) + column / half % 2;
    sign *= signs[leaf % 7][quarter];
    leaf /= 7;
  }
  return sign;
}

// One worker's leaves. read_a(row, column, f) and read_b give tiles; the sums of C's tiles are in plain memory.
template <typename T>
class StrassenLeaves {
 public:
  explicit StrassenLeaves(std::size_t tiles)
      : side_(tiles / kStrassenBlocks), tiles_(tiles), left_(side_ * side_), right_(side_ * side_), c_(tiles * tiles) {}

  template <typename A, typename B>
  void compute(std::size_t leaf, A read_a, B read_b) {
    gather(kLeft, leaf, left_, read_a);
    gather(kRight, leaf, right_, read_b);
    for (std::size_t row = 0; row < side_; ++row) {
      for (std::size_t column = 0; column < side_; ++column) {
        TileSum<T> product{};
        for (std::size_t k = 0; k < side_; ++k) {
          multiply_tile(left_[row * side_ + k].data(), right_[k * side_ + column].data(), product.data());
        }
        each_block(kResult, leaf, [&](int sign, std::size_t first_row, std::size_t first_column) {
          add_signed(sign, product.data(), c_[(first_row + row) * tiles_ + first_column + column].data());
        });
      }
    }
  }
  const T* sum(std::size_t tile) const { return c_[tile].data(); }

 private:
  // f(sign, first row of tiles, first column) for the blocks that take part in a leaf.
  template <typename F>
  void each_block(const int (&signs)[7][4], std::size_t leaf, F f) const {
    for (std::size_t row = 0; row < kStrassenBlocks; ++row) {
      for (std::size_t column = 0; column < kStrassenBlocks; ++column) {
        if (const int sign = sign_of(signs, leaf, row, column)) f(sign, row * side_, column * side_);
      }
    }
  }
  template <typename Read>
  void gather(const int (&signs)[7][4], std::size_t leaf, std::vector<TileSum<T>>& sums, Read read) {
    for (TileSum<T>& sum : sums) sum.fill(0);
    each_block(signs, leaf, [&](int sign, std::size_t first_row, std::size_t first_column) {
      for (std::size_t i = 0; i < sums.size(); ++i) {
        read(first_row + i / side_, first_column + i % side_,
             [&](const T* tile) { add_signed(sign, tile, sums[i].data()); });
      }
    });
  }

  std::size_t side_, tiles_;  // of a block, of C
  std::vector<TileSum<T>> left_, right_, c_;
};

}  // namespace app
