// Shared memory of a node, mapped into this process.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace dsm::net {

// A mapped file, or memory of this process alone; unmaps itself.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  static Result<Mapping> map(int fd, std::uint64_t bytes);
  static Result<Mapping> map_private(std::uint64_t bytes);
  std::byte* data() const { return data_; }

 private:
  static Result<Mapping> keep(void* address, std::uint64_t bytes);

  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

}  // namespace dsm::net
