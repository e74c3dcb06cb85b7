// Square matrices in tiles of whole pages, so that no page holds parts of two tiles, and the checks of a product.
//
// 1. `size` is what the user asked for; the storage has a whole number of tiles a side, and zeros in the rest.
// 2. Elements are double, or unsigned 32-bit integers that stand for signed ones modulo 2^32.
#pragma once

#include <array>
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

// A tile of a sum, in plain memory. On pages of its own, so that no mode has it at better addresses than another.
template <typename T>
struct alignas(4096) TileSum : std::array<T, kTileElements> {};

// These two are where the time goes. Out of line: all modes run the same machine code (in line, a loop that crossed a
// cache line made one mode a fifth slower than another).
template <typename T>
void multiply_tile(const T* __restrict a, const T* __restrict b,
                   T* __restrict sum);  // sum += a * b, each sum in the order of b's rows
template <typename T>
void add_signed(int sign, const T* __restrict from, T* __restrict to);

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
