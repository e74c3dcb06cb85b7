// Memory for copies of objects and their records: classes of powers of two, carved from mappings of its own, never from
// any heap. Under the lock of its user; safe in signal context.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace dsm::hints {

class Slab {
 public:
  static constexpr std::size_t kSmallest = 64;
  // What a request for `bytes` takes.
  static std::size_t taken(std::size_t bytes);
  std::byte* take(std::size_t bytes);  // aligned to 64; its memory is undefined
  void give(std::byte* memory, std::size_t bytes);

 private:
  static constexpr std::size_t kClasses = 13;  // 64 bytes to 256 KiB; what is larger is mapped by itself
  static constexpr std::size_t kBlock = std::size_t{1} << 20;
  struct Free {
    Free* next;
  };
  std::array<Free*, kClasses> free_{};
  std::byte* block_ = nullptr;  // what is left of the last mapping
  std::size_t block_bytes_ = 0;
};

}  // namespace dsm::hints
