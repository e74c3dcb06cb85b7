// Square matrices in tiles of whole pages, so that no page holds parts of two tiles, and the checks of a product.
//
// 1. `size` is what the user asked for; the storage has a whole number of tiles a side, and zeros in the rest.
// 2. Elements are double, or unsigned 32-bit integers that stand for signed ones modulo 2^32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace app {

inline constexpr std::size_t kTile = 64;
inline constexpr std::size_t kTileElements = kTile * kTile;

template <typename T>
struct Matrix {
  T* elements;
  std::size_t size;
  std::size_t tiles;  // a side

  static std::size_t tiles_for(std::size_t size) { return (size + kTile - 1) / kTile; }
  T* tile(std::size_t row, std::size_t column) const { return elements + (row * tiles + column) * kTileElements; }
  T& at(std::size_t i, std::size_t j) const { return tile(i / kTile, j / kTile)[i % kTile * kTile + j % kTile]; }
};

// sum += a * b, each sum in the order of b's rows.
template <typename T>
void multiply_tile(const T* a, const T* b, T* sum) {
  for (std::size_t i = 0; i < kTile; ++i) {
    for (std::size_t k = 0; k < kTile; ++k) {
      const T factor = a[i * kTile + k];
      for (std::size_t j = 0; j < kTile; ++j) sum[i * kTile + j] += factor * b[k * kTile + j];
    }
  }
}

template <typename T>
void fill_randomly(const Matrix<T>& matrix, std::uint64_t seed, std::uint64_t stream);

// Plain rows, for the reference.
template <typename T>
std::vector<T> in_rows(const Matrix<T>& matrix);

// The plain product of two matrices in rows, each sum in the same order as the tiles' one: the bits must be equal.
template <typename T>
std::vector<T> multiply_plainly(const std::vector<T>& a, const std::vector<T>& b, std::size_t size);

// Freivalds' check: A (B r) = C r for `rounds` random vectors r. Exact for integers; for doubles up to a bound on the
// rounding errors, times `slack`. A wrong product passes a round with a probability of at most 1/2. "" when it holds,
// else a sentence.
template <typename T>
std::string freivalds(const std::vector<T>& a, const std::vector<T>& b, const std::vector<T>& c, std::size_t size,
                      std::uint64_t seed, unsigned rounds, double slack = 1);

}  // namespace app
