// Memory for copies of objects and their records: classes of powers of two, carved from mappings of its own, never from
// any heap. Under the lock of its user; safe in signal context. All of it is lent to the transport, and some large
// pieces that are given back are kept for the next one, with what the transport knows of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace dsm::net {
class Transport;
}

namespace dsm::hints {

class Slab {
 public:
  static constexpr std::size_t kSmallest = 64;
  // `transport`: nullptr if there is none. At the most `most_kept` bytes are kept.
  Slab(net::Transport* transport, std::size_t most_kept) : transport_(transport), most_kept_(most_kept) {}
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
  struct Large {
    std::byte* memory = nullptr;
    std::size_t bytes = 0;
  };
  std::byte* map(std::size_t bytes) const;
  void unmap(Large large) const;
  std::byte* take_large(std::size_t bytes);
  void give_large(Large large);

  net::Transport* const transport_;
  const std::size_t most_kept_;
  std::array<Free*, kClasses> free_{};
  std::byte* block_ = nullptr;  // what is left of the last mapping
  std::size_t block_bytes_ = 0;
  std::array<Large, 16> kept_{};  // the oldest first
  std::size_t kept_count_ = 0;
  std::size_t kept_bytes_ = 0;
};

}  // namespace dsm::hints
