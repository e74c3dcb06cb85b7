#include "bench/apps/matmul/matrix.h"

#include <fmt/core.h>

#include <cmath>
#include <limits>
#include <type_traits>

#include "bench/apps/frame/random.h"

namespace app {
namespace {

// Doubles in [-1, 1), integers of the full range.
template <typename T>
T element(std::uint64_t bits) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(2 * unit(bits) - 1);
  } else {
    return static_cast<T>(bits >> 32);
  }
}

template <typename T>
T magnitude(T value) {
  if constexpr (std::is_floating_point_v<T>) return std::abs(value);
  return value;
}

// matrix * vector, or |matrix| * vector.
template <typename T>
std::vector<T> times(const std::vector<T>& matrix, const std::vector<T>& vector, bool magnitudes = false) {
  const std::size_t size = vector.size();
  std::vector<T> product(size);
  for (std::size_t i = 0; i < size; ++i) {
    T sum = 0;
    for (std::size_t j = 0; j < size; ++j) {
      const T value = matrix[i * size + j];
      sum += (magnitudes ? magnitude(value) : value) * vector[j];
    }
    product[i] = sum;
  }
  return product;
}

// Every entry of a product of three is the sum of size^2 terms; three sums of `size` terms round at most this much.
template <typename T>
std::vector<T> allowed_errors(const std::vector<T>& a, const std::vector<T>& b, std::size_t size) {
  if constexpr (std::is_floating_point_v<T>) {
    std::vector<T> bound = times(a, times(b, std::vector<T>(size, 1), true), true);
    for (T& value : bound) value *= 4 * static_cast<T>(size) * std::numeric_limits<T>::epsilon();
    return bound;
  } else {
    return std::vector<T>(size, 0);
  }
}

template <typename T>
bool differ(T x, T y, T allowed) {
  if constexpr (std::is_floating_point_v<T>) return !(std::abs(x - y) <= allowed);  // a NaN differs
  return x != y;
}

}  // namespace

template <typename T>
void multiply_tile(const T* __restrict a, const T* __restrict b, T* __restrict sum) {
  for (std::size_t i = 0; i < kTile; ++i) {
    for (std::size_t k = 0; k < kTile; ++k) {
      const T factor = a[i * kTile + k];
      for (std::size_t j = 0; j < kTile; ++j) sum[i * kTile + j] += factor * b[k * kTile + j];
    }
  }
}

template <typename T>
void add_signed(int sign, const T* __restrict from, T* __restrict to) {
  for (std::size_t i = 0; i < kTileElements; ++i) to[i] = sign > 0 ? to[i] + from[i] : to[i] - from[i];
}

template <typename T>
void fill_randomly(const Matrix<T>& matrix, std::uint64_t seed, std::uint64_t stream) {
  for (std::size_t i = 0; i < matrix.tiles * kTile; ++i) {
    for (std::size_t j = 0; j < matrix.tiles * kTile; ++j) {
      const bool inside = i < matrix.size && j < matrix.size;
      matrix.at(i, j) = inside ? element<T>(random_at(seed, stream, i * matrix.size + j)) : T{0};
    }
  }
}

template <typename T>
std::vector<T> in_rows(const Matrix<T>& matrix) {
  std::vector<T> rows(matrix.size * matrix.size);
  for (std::size_t i = 0; i < matrix.size; ++i) {
    for (std::size_t j = 0; j < matrix.size; ++j) rows[i * matrix.size + j] = matrix.at(i, j);
  }
  return rows;
}

template <typename T>
std::vector<T> multiply_plainly(const std::vector<T>& a, const std::vector<T>& b, std::size_t size) {
  std::vector<T> c(size * size);
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t k = 0; k < size; ++k) {
      const T factor = a[i * size + k];
      for (std::size_t j = 0; j < size; ++j) c[i * size + j] += factor * b[k * size + j];
    }
  }
  return c;
}

template <typename T>
std::string freivalds(const std::vector<T>& a, const std::vector<T>& b, const std::vector<T>& c, std::size_t size,
                      std::uint64_t seed, unsigned rounds, double slack) {
  std::vector<T> allowed = allowed_errors(a, b, size);
  for (T& bound : allowed) bound = static_cast<T>(bound * slack);
  for (unsigned round = 0; round < rounds; ++round) {
    std::vector<T> vector(size);
    for (std::size_t i = 0; i < size; ++i) {
      const std::uint64_t bits = random_at(seed, 1000 + round, i);
      vector[i] = std::is_floating_point_v<T> ? static_cast<T>(bits >> 63) : static_cast<T>(bits >> 32);
    }
    const std::vector<T> right = times(a, times(b, vector));
    const std::vector<T> got = times(c, vector);
    for (std::size_t i = 0; i < size; ++i) {
      if (!differ(right[i], got[i], allowed[i])) continue;
      return fmt::format("row {} of the product, times random vector {}, is {} instead of {}.", i, round, got[i],
                         right[i]);
    }
  }
  return "";
}

#define DSM_MATRIX(T)                                                                                                 \
  template void multiply_tile<T>(const T* __restrict, const T* __restrict, T* __restrict);                            \
  template void add_signed<T>(int, const T* __restrict, T* __restrict);                                               \
  template void fill_randomly<T>(const Matrix<T>&, std::uint64_t, std::uint64_t);                                     \
  template std::vector<T> in_rows<T>(const Matrix<T>&);                                                               \
  template std::vector<T> multiply_plainly<T>(const std::vector<T>&, const std::vector<T>&, std::size_t);             \
  template std::string freivalds<T>(const std::vector<T>&, const std::vector<T>&, const std::vector<T>&, std::size_t, \
                                    std::uint64_t, unsigned, double);
DSM_MATRIX(double)
DSM_MATRIX(std::uint32_t)
#undef DSM_MATRIX

}  // namespace app
