// How many chains of operations this process has had executed at other nodes: each is one round trip of a network.
#pragma once

#include <atomic>
#include <cstdint>

namespace dsm::net {

inline constinit std::atomic<std::uint64_t> round_trips{0};

}  // namespace dsm::net
