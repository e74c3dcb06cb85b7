// Memory of the transport's own that the card reads and writes: buffers for what is not registered itself. It is shared
// memory, so that a fork leaves the card and the parent with the same pages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "net/verbs_device.h"

namespace dsm::net::verbs {

void* map_unforked(std::size_t bytes);  // zeros; nullptr with errno

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();
  static Result<Buffer> make(const Device& device, std::size_t bytes);

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  std::uint32_t lkey() const { return mr_->lkey; }
  std::uint32_t rkey() const { return mr_->rkey; }

 private:
  const Library* library_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  ibv_mr* mr_ = nullptr;
};

}  // namespace dsm::net::verbs
