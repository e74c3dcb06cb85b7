// Runs one seed and tells what came of it; finds the smallest run of a seed that still fails.
#pragma once

#include <optional>
#include <string>

#include "tests/sim/simulator.h"

namespace dsm::sim {

struct Outcome {
  std::optional<Failure> failure;
  Counts counts;
};

Outcome run(std::uint64_t seed, const Overrides& overrides, Trace* trace = nullptr);

// Fewer nodes, threads, pages and operations, and less that goes on, as long as the seed still fails in the same way by
// one of some courses of it; of these the shortest.
Overrides shrink(std::uint64_t seed, const Overrides& overrides);

// The failure, the options, how to replay it, and the last lines of its trace.
std::string report(std::uint64_t seed, const Overrides& overrides);

}  // namespace dsm::sim
