// What is too large for a message lies in a parcel: a block of the sender's object memory that the receiver reads, and
// writes its answer to, by one-sided operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/types.h"

namespace dsm::runtime {
struct Node;
}

namespace dsm::placed {

// The sender's side. Address 0: nothing was needed.
class Parcel {
 public:
  Parcel() = default;
  Parcel(runtime::Node& node, std::size_t bytes);  // ends the program with a clear line if memory is used up
  ~Parcel();
  Parcel(Parcel&& other) noexcept : node_(other.node_), address_(other.address_) { other.address_ = 0; }
  Parcel& operator=(Parcel&&) = delete;

  std::uint64_t address() const { return address_; }
  std::byte* data() const;  // in this node's own memory

 private:
  runtime::Node* node_ = nullptr;
  std::uint64_t address_ = 0;
};

// The receiver's side, signals blocked or not.
void read_parcel(runtime::Node& node, std::uint64_t address, std::span<std::byte> to);
void write_parcel(runtime::Node& node, std::uint64_t address, std::span<const std::byte> from);

}  // namespace dsm::placed
