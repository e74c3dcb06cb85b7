// The simulator's only source of chance: 64 bits of state, so that a seed replays a run. Or no chance at all: Choices
// goes through everything that chance might bring, one combination after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dsm::sim {

// All outcomes of the draws of one move. The first draws are those of the combination before, the last that can be is
// one higher.
class Choices {
 public:
  unsigned take(unsigned bound) {
    if (taken_ == draws_.size()) draws_.push_back({0, bound});
    return draws_[taken_++].value;
  }
  // The next combination; false if there is none, and then all begins again.
  bool next() {
    draws_.resize(taken_);
    taken_ = 0;
    while (!draws_.empty()) {
      if (++draws_.back().value < draws_.back().bound) return true;
      draws_.pop_back();
    }
    return false;
  }

 private:
  struct Draw {
    unsigned value, bound;
  };
  std::vector<Draw> draws_;
  std::size_t taken_ = 0;
};

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {  // splitmix64
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  unsigned below(unsigned bound) {
    if (choices_ != nullptr) return choices_->take(bound);
    return static_cast<unsigned>((next() >> 32) * bound >> 32);
  }
  unsigned between(unsigned low, unsigned high) { return low + below(high - low + 1); }
  bool percent(unsigned chance) {
    if (choices_ != nullptr) return chance != 0 && (chance >= 100 || choices_->take(2) != 0);
    return below(100) < chance;
  }
  // How long somebody dawdles. Where every schedule is gone through he does not have to.
  unsigned moves(unsigned bound) { return choices_ != nullptr ? 0 : below(bound); }
  void leave_to(Choices* choices) { choices_ = choices; }

 private:
  std::uint64_t state_;
  Choices* choices_ = nullptr;
};

}  // namespace dsm::sim
