// Bytes of a fuzzer's input, taken from the front; when they are used up there come zeros.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}

  bool empty() const { return left_.empty(); }
  template <typename Number>
  Number number() {
    Number value{};
    const auto taken = bytes(sizeof value);
    if (!taken.empty()) std::memcpy(&value, taken.data(), taken.size());
    return value;
  }
  std::span<const std::uint8_t> bytes(std::size_t most) {
    const auto taken = left_.first(std::min(most, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  // Up to the next `end`, which is taken too.
  std::string text(char end) {
    const auto at = std::find(left_.begin(), left_.end(), static_cast<std::uint8_t>(end));
    std::string taken(left_.begin(), at);
    left_ = left_.subspan(std::min(taken.size() + 1, left_.size()));
    return taken;
  }

 private:
  std::span<const std::uint8_t> left_;
};

}  // namespace fuzz
