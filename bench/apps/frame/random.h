// Random input that every node can make again: value i of a stream depends on nothing but (seed, stream, i).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace app {

// The output function of splitmix64.
constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr std::uint64_t random_at(std::uint64_t seed, std::uint64_t stream, std::uint64_t i) {
  return mix(mix(seed * 0x9e3779b97f4a7c15 + stream) + (i + 1) * 0x9e3779b97f4a7c15);
}

// Uniform in [0, 1).
constexpr double unit(std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

// Ranks 0 to n - 1, rank r with a probability proportional to 1 / (r + 1)^theta.
class Zipf {
 public:
  Zipf(std::size_t n, double theta) : below_(n) {
    double sum = 0;
    for (std::size_t rank = 0; rank < n; ++rank) {
      sum += std::pow(static_cast<double>(rank + 1), -theta);
      below_[rank] = sum;
    }
  }
  std::size_t rank(double uniform) const {
    const auto found = std::upper_bound(below_.begin(), below_.end(), uniform * below_.back());
    return std::min(static_cast<std::size_t>(found - below_.begin()), below_.size() - 1);
  }

 private:
  std::vector<double> below_;  // below_[r]: the weight of all ranks up to r
};

// Depends on the words and on their order.
class Checksum {
 public:
  void add(std::uint64_t word) { value_ = mix(value_ ^ word) + 0x9e3779b97f4a7c15; }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0;
};

}  // namespace app
