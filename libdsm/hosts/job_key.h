// The job's key: what the launchers of a job's hosts all have in a file, and nobody else. It never travels; whoever has
// it proves it by tags (HMAC-SHA256, of libsodium) over nonces of both sides.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace dsm::hosts {

using Tag = std::array<std::byte, 32>;
using Nonce = std::array<std::byte, 32>;

class JobKey {
 public:
  static constexpr std::size_t kLeastBytes = 16;

  // The error is a sentence for the user.
  static tl::expected<JobKey, std::string> read(const std::string& file);

  Tag tag(std::initializer_list<std::span<const std::byte>> parts) const;

 private:
  explicit JobKey(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  std::vector<std::byte> bytes_;
};

// In a time that does not depend on where they differ.
bool same(const Tag& one, const Tag& other);
Nonce make_nonce();

}  // namespace dsm::hosts
