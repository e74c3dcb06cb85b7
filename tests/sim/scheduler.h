// Chooses which actor moves next among those that can. An actor is a number; what it does is the simulator's business.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/sim/options.h"
#include "tests/sim/random.h"

namespace dsm::sim {

inline constexpr unsigned kNobody = ~0u;

class Scheduler {
 public:
  // `length`: about how many moves the run will have; the moments of change are drawn from that range.
  // `later`: so many of the actors, the last ones, draw on a source of their own (what others do in a seed stays so).
  Scheduler(const Options& options, unsigned actors, unsigned later, unsigned length, Random& random);

  void set(unsigned actor, bool can_move);
  unsigned pick();  // kNobody if none can move
  void slow_down(unsigned actor) { slow_[actor] = true; }
  void stop(unsigned actor);  // it never moves again
  unsigned movable() const { return static_cast<unsigned>(list_.size()); }
  const std::vector<unsigned>& list() const { return list_; }  // those that can move, in no order
  bool can_move(unsigned actor) const { return place_[actor] != kNobody; }

  // From now on every actor that can move does so once in each round.
  void be_fair();
  std::uint64_t fair_rounds() const { return rounds_; }

 private:
  unsigned choose();
  unsigned pick_urgent();
  unsigned pick_with_delays();
  unsigned pick_in_turn();
  unsigned next_from(unsigned actor) const;
  bool change_due();

  const Policy policy_;
  const unsigned quantum_;
  const unsigned lazy_;
  const unsigned threads_;  // the program's threads are the first actors
  Random& random_;
  std::vector<unsigned> list_;       // those that can move, in no order
  std::vector<unsigned> place_;      // actor -> index in list_, or kNobody
  std::vector<std::uint64_t> bits_;  // the same set
  std::vector<std::uint64_t> urgency_;
  std::vector<bool> slow_, stopped_;
  std::vector<std::uint64_t> sleeps_until_;
  std::vector<std::uint64_t> changes_;  // moments, latest first
  std::uint64_t now_ = 0;
  std::uint64_t rounds_ = 0;
  std::uint64_t least_urgent_ = 1u << 20;
  unsigned turn_ = 0;
  unsigned moves_left_ = 0;
  bool fair_ = false;
};

}  // namespace dsm::sim
