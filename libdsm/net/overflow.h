// Messages that found their ring full: a first-in first-out queue in memory from mmap, because send() runs in signal
// context and may not allocate. Guarded by the destination's lock. Keeps one block at the most while it is empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "net/transport.h"

namespace dsm::net {

struct Parcel {
  std::int64_t due_ns;
  std::uint8_t length;
  std::byte bytes[kMaxMessageBytes];

  std::span<const std::byte> message() const { return {bytes, length}; }
};

class Overflow {
 public:
  Overflow() = default;
  ~Overflow();
  Overflow(const Overflow&) = delete;
  Overflow& operator=(const Overflow&) = delete;

  bool empty() const { return read_block_ == write_block_ && read_ == write_; }
  const Parcel& front() const;  // REQUIRES: !empty()
  Result<void> push(std::int64_t due_ns, std::span<const std::byte> message);
  void pop();  // REQUIRES: !empty()

 private:
  struct Block;

  Block* read_block_ = nullptr;  // read_block_ ... write_block_ are linked; both null until the first push
  Block* write_block_ = nullptr;
  std::size_t read_ = 0;   // next parcel of read_block_ to go
  std::size_t write_ = 0;  // first free place of write_block_
};

}  // namespace dsm::net
