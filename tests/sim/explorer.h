// Goes through everything that a small simulated cluster can do: every schedule and every choice of its programs,
// breadth first, each state once. The code that runs is the simulator's, and so are the checks.
//
// A state is told by 64 bits of hash of its canonical bytes (state.cpp): with S states, one is taken for another with a
// chance of about S^2 / 2^65, a million states: 3 in 10^8. The counts of who overtakes whom are not part of a state.
//
// Checked: the simulator's promises after every step; that where nothing can move nobody waits, and that all is in
// order then and after everything has been given up; and, if the space was exhausted, that from every state there is a
// way to such an end (nobody is caught in a circle).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/simulator.h"

namespace dsm::sim {

struct Space {
  const char* name;
  Options options;
};
// What is explored as a rule, each to its end or its bound.
const std::vector<Space>& spaces();

struct Limits {
  std::uint64_t states = 10'000'000;
  unsigned depth = ~0u;
  double seconds = 1e9;
};

struct Found {
  std::uint64_t states = 0;
  std::uint64_t steps = 0;
  std::uint64_t ends = 0;
  unsigned depth = 0;      // all states that are so many steps away or fewer have been seen
  bool exhausted = false;  // and there are no others
  double seconds = 0;
  std::optional<Failure> failure;
  std::vector<std::string> trace;  // of the failure, from the beginning; it is a shortest one
};

class Explorer {
 public:
  Explorer(const Options& options, const Limits& limits);
  Found run();

 private:
  static constexpr std::uint32_t kNone = ~0u;
  // How a state was first reached.
  struct Step {
    std::uint32_t from;
    std::uint16_t actor;
    std::uint16_t choice;  // which combination of Choices
  };
  // A state whose steps have not been taken.
  struct Open {
    std::uint32_t index;
    std::string bytes;
  };

  void expand(const Open& open);
  void move(const Open& open, unsigned actor);
  void arrive(Step step);
  void end(const Open& open);
  std::uint32_t place_of(std::uint64_t hash, bool& known);
  void grow();
  bool over() const;
  void check_ways_out();
  void tell(std::uint32_t last, std::optional<Step> further);
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  using Clock = std::chrono::steady_clock;
  const Options options_;
  const Limits limits_;
  const Clock::time_point start_ = Clock::now();
  Simulator simulator_;
  Choices choices_;
  std::vector<Open> level_, next_;
  std::vector<Step> reached_;
  std::vector<std::uint64_t> hashes_;     // open addressing; beside it
  std::vector<std::uint32_t> places_;     // the index in reached_, or kNone
  std::vector<std::uint64_t> first_way_;  // of each expanded state: index of its first successor in ways_
  std::vector<std::uint32_t> ways_;
  std::vector<std::uint32_t> ends_;
  std::string bytes_;
  Found found_;
};

}  // namespace dsm::sim
