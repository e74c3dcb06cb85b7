#include "tests/sim/scheduler.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace dsm::sim {

Scheduler::Scheduler(const Options& options, unsigned actors, unsigned later, unsigned length, Random& random)
    : policy_(options.policy),
      quantum_(options.quantum),
      lazy_(options.lazy),
      threads_(options.nodes * options.threads),
      random_(random),
      place_(actors, kNobody),
      bits_(actors / 64 + 1),
      slow_(actors),
      stopped_(actors),
      sleeps_until_(actors) {
  Random own(options.seed + 0x51ed2701);
  for (unsigned i = 0; i < actors; ++i) {
    urgency_.push_back((i < actors - later ? random : own).next() >> 1 | 1u << 21);
  }
  for (unsigned i = 0; i < options.changes; ++i) changes_.push_back(random.below(length));
  std::sort(changes_.begin(), changes_.end(), std::greater<>());
}

void Scheduler::set(unsigned actor, bool can_move) {
  can_move = can_move && !stopped_[actor];
  const bool could = place_[actor] != kNobody;
  if (could == can_move) return;
  bits_[actor / 64] ^= std::uint64_t{1} << actor % 64;
  if (can_move) {
    place_[actor] = movable();
    list_.push_back(actor);
    return;
  }
  const unsigned hole = place_[actor];
  list_[hole] = list_.back();
  place_[list_[hole]] = hole;
  list_.pop_back();
  place_[actor] = kNobody;
}

void Scheduler::stop(unsigned actor) {
  stopped_[actor] = true;
  set(actor, false);
}

// Who is slow is nearly always put off for another.
unsigned Scheduler::pick() {
  if (list_.empty()) return kNobody;
  ++now_;
  if (fair_) return pick_in_turn();
  unsigned actor = choose();
  for (int tries = 0; tries < 3 && slow_[actor] && random_.percent(90); ++tries)
    actor = list_[random_.below(movable())];
  return actor;
}

unsigned Scheduler::choose() {
  if (policy_ == Policy::kRoundRobin) return pick_in_turn();
  if (policy_ == Policy::kPriorities) return pick_urgent();
  if (policy_ == Policy::kDelays) return pick_with_delays();
  const unsigned actor = list_[random_.below(movable())];
  if (actor >= threads_ || lazy_ == 0 || !random_.percent(lazy_)) return actor;
  return list_[random_.below(movable())];
}

// Emmi, Qadeer, Rakamaric, POPL 2011: a schedule without chance, and few delays.
unsigned Scheduler::pick_with_delays() {
  if (place_[turn_] == kNobody || change_due()) turn_ = next_from(turn_ + 1);
  return turn_;
}

bool Scheduler::change_due() {
  if (changes_.empty() || changes_.back() > now_) return false;
  changes_.pop_back();
  return true;
}

unsigned Scheduler::pick_urgent() {
  const auto most = [this] {
    return *std::max_element(list_.begin(), list_.end(),
                             [this](unsigned a, unsigned b) { return urgency_[a] < urgency_[b]; });
  };
  unsigned chosen = most();
  if (!change_due()) return chosen;
  urgency_[chosen] = --least_urgent_;
  return most();
}

unsigned Scheduler::pick_in_turn() {
  if (moves_left_ > 0 && place_[turn_] != kNobody) {
    --moves_left_;
    return turn_;
  }
  for (unsigned tries = 0; tries <= movable(); ++tries) {
    const unsigned before = turn_;
    turn_ = next_from(turn_ + 1);
    if (turn_ <= before) ++rounds_;
    if (fair_) return turn_;
    if (change_due()) sleeps_until_[turn_] = now_ + random_.between(20, 2000);
    if (sleeps_until_[turn_] <= now_) break;
  }
  moves_left_ = quantum_ - 1;
  return turn_;
}

// The first actor that can move, from `actor` on, around.
unsigned Scheduler::next_from(unsigned actor) const {
  std::size_t word = actor / 64;
  if (word < bits_.size()) {
    const std::uint64_t rest = bits_[word] & ~std::uint64_t{0} << actor % 64;
    if (rest != 0) return static_cast<unsigned>(word * 64) + static_cast<unsigned>(std::countr_zero(rest));
  }
  for (std::size_t i = 0; i < bits_.size(); ++i) {
    word = (word + 1) % bits_.size();
    if (bits_[word] == 0) continue;
    return static_cast<unsigned>(word * 64) + static_cast<unsigned>(std::countr_zero(bits_[word]));
  }
  return kNobody;
}

void Scheduler::be_fair() {
  fair_ = true;
  moves_left_ = 0;
  rounds_ = 0;
}

}  // namespace dsm::sim
