#include "tests/sim/run.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace dsm {

// In the simulator a failed DSM_CHECK fails the run instead of ending the process.
void check_failed(const char* file, int line, const char* condition, std::string_view detail) {
  throw sim::Failure{sim::Check::kAssertion, fmt::format("{}:{}: {}: {}", file, line, condition, detail)};
}

}  // namespace dsm

namespace dsm::sim {
namespace {

// Tries all smaller values of one number, smallest first.
void shrink_one(std::uint64_t seed, Overrides& overrides, std::optional<unsigned> Overrides::*field, unsigned least,
                unsigned now) {
  for (unsigned value = least; value < now; ++value) {
    Overrides smaller = overrides;
    smaller.*field = value;
    if (!run(seed, smaller).failure) continue;
    overrides = smaller;
    return;
  }
}

}  // namespace

Outcome run(std::uint64_t seed, const Overrides& overrides, Trace* trace) {
  Outcome outcome;
  Simulator simulator(options_of(seed, overrides), trace);
  try {
    simulator.run();
  } catch (const Failure& failure) {
    outcome.failure = failure;
  }
  outcome.counts = simulator.counts();
  return outcome;
}

Overrides shrink(std::uint64_t seed, Overrides overrides) {
  for (int pass = 0; pass < 2; ++pass) {
    const Options options = options_of(seed, overrides);
    shrink_one(seed, overrides, &Overrides::nodes, 2, options.nodes);
    shrink_one(seed, overrides, &Overrides::pages, 1, options.pages);
    shrink_one(seed, overrides, &Overrides::threads, 1, options.threads);
    shrink_one(seed, overrides, &Overrides::ops, 1, options.ops);
  }
  return overrides;
}

std::string report(std::uint64_t seed, const Overrides& overrides) {
  Trace trace(false);
  const Outcome outcome = run(seed, overrides, &trace);
  if (!outcome.failure) return fmt::format("seed {} does not fail\n", seed);
  std::string text;
  for (const std::string& line : trace.lines()) text += line + "\n";
  text += fmt::format("FAILED {}: {}\n  after {} moves of: {}\n  replay: dsmsim {} --trace\n",
                      name_of(outcome.failure->check), outcome.failure->text, outcome.counts.moves,
                      describe(options_of(seed, overrides)), command_line(seed, overrides));
  return text;
}

}  // namespace dsm::sim
