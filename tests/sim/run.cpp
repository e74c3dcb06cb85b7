#include "tests/sim/run.h"

#include <fmt/core.h>

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

constexpr std::uint64_t kCourses = 100;       // that are tried of each smaller run
constexpr std::uint64_t kLastCourses = 2000;  // of the smallest
constexpr std::uint64_t kMostMoves = 40'000'000;

class Shrinker {
 public:
  Shrinker(std::uint64_t seed, const Overrides& overrides)
      : seed_(seed), check_(run(seed, overrides).failure->check), smallest_(overrides) {}

  Overrides smallest() {
    for (bool smaller = true; smaller && moves_ < kMostMoves;) {
      const Options now = options_of(seed_, smallest_);
      smaller = lower(&Overrides::nodes, 2, now.nodes);
      smaller |= lower(&Overrides::pages, 1, now.pages);
      smaller |= lower(&Overrides::threads, 1, now.threads);
      smaller |= leave_out();
      smaller |= lower(&Overrides::ops, 1, now.ops);
    }
    shorten();
    return smallest_;
  }

 private:
  // Tries all smaller values of one number, smallest first.
  bool lower(std::optional<unsigned> Overrides::*field, unsigned least, unsigned now) {
    for (unsigned value = least; value < now; ++value) {
      Overrides smaller = smallest_;
      smaller.*field = value;
      if (try_courses(smaller)) return true;
    }
    return false;
  }

  bool leave_out() {
    bool any = false;
    for (const Feature& feature : features()) {
      Overrides smaller = smallest_;
      smaller.without.emplace_back(feature.name);
      const bool less = describe(options_of(seed_, smaller)) != describe(options_of(seed_, smallest_));
      if (less && try_courses(smaller)) any = true;
    }
    return any;
  }

  bool try_courses(Overrides smaller) {
    for (std::uint64_t course = 0; course <= kCourses && moves_ < kMostMoves; ++course) {
      smaller.chance = course == 0 ? smallest_.chance : course;
      if (!fails_after(smaller)) continue;
      smallest_ = smaller;
      return true;
    }
    return false;
  }

  // The shortest of some courses of the same run.
  void shorten() {
    std::uint64_t least = run(seed_, smallest_).counts.moves;
    for (std::uint64_t course = 1; course <= kLastCourses && moves_ < 2 * kMostMoves; ++course) {
      Overrides other = smallest_;
      other.chance = course;
      const std::optional<std::uint64_t> moves = fails_after(other);
      if (!moves || *moves >= least) continue;
      least = *moves;
      smallest_ = other;
    }
  }

  std::optional<std::uint64_t> fails_after(const Overrides& overrides) {
    const Outcome outcome = run(seed_, overrides);
    moves_ += outcome.counts.moves;
    if (!outcome.failure || outcome.failure->check != check_) return std::nullopt;
    return outcome.counts.moves;
  }

  const std::uint64_t seed_;
  const Check check_;
  Overrides smallest_;
  std::uint64_t moves_ = 0;  // of all runs that were tried
};

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

Overrides shrink(std::uint64_t seed, const Overrides& overrides) { return Shrinker(seed, overrides).smallest(); }

std::string report(std::uint64_t seed, const Overrides& overrides) {
  Trace trace(false);
  const Outcome outcome = run(seed, overrides, &trace);
  if (!outcome.failure) return fmt::format("seed {} does not fail\n", seed);
  std::string text =
      "What happened last (the number of the move, and what it was; indented: an operation arrives at a home, and "
      "what\n"
      "stands there then):\n";
  for (const std::string& line : trace.lines()) text += line + "\n";
  text += fmt::format("FAILED {}: {}\n  after {} moves of: {}\n  replay: scripts/sim {} --trace\n",
                      name_of(outcome.failure->check), outcome.failure->text, outcome.counts.moves,
                      describe(options_of(seed, overrides)), command_line(seed, overrides));
  return text;
}

}  // namespace dsm::sim
