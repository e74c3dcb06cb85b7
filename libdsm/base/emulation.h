// The cost of a network that one host can pretend to have (option `emulate`). net/shm_transport.h states the figures.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace dsm {

inline constexpr std::int64_t kLargestEmulatedFigure = 1'000'000'000;

struct Emulation {
  std::int64_t latency_ns = 0;    // one chain, there and back
  std::int64_t bytes_per_us = 0;  // of one chain; 0: no emulation at all
  std::int64_t message_ns = 0;    // from send() to the earliest poll() that delivers

  bool on() const { return bytes_per_us != 0; }
  std::int64_t chain_ns(std::uint64_t bytes) const {
    return latency_ns + static_cast<std::int64_t>(bytes) * 1000 / bytes_per_us;
  }
};

// "", "rdma", "tcp" or "latency_ns:bytes_per_us:message_ns".
Result<Emulation> parse_emulation(std::string_view text);

}  // namespace dsm
