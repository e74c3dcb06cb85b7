// How long single requests took: counts by quarters of a power of two of nanoseconds. One thread writes.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace app {

class Latencies {
 public:
  void add(double seconds) {
    const double ns = std::max(seconds * 1e9, 1.0);
    const auto at = static_cast<std::size_t>(4 * std::log2(ns));
    ++counts_[std::min(at, kBuckets - 1)];
  }
  void merge(const Latencies& other) {
    for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  }
  std::uint64_t count() const {
    std::uint64_t all = 0;
    for (const std::uint64_t count : counts_) all += count;
    return all;
  }
  // The nanoseconds that `part` of the requests (0 to 1) took at the most: the middle of a bucket, off by 9 % at the
  // most.
  double quantile(double part) const {
    const double wanted = part * static_cast<double>(count());
    double seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      seen += static_cast<double>(counts_[i]);
      if (counts_[i] != 0 && seen >= wanted) return std::exp2((static_cast<double>(i) + 0.5) / 4);
    }
    return 0;
  }

 private:
  static constexpr std::size_t kBuckets = 160;  // up to 2^40 ns
  std::array<std::uint64_t, kBuckets> counts_{};
};

}  // namespace app
