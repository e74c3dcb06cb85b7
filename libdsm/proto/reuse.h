// How surely a page of the eviction policy's main queue is used again (proto/eviction.h). Whether it is shows only when
// it rests and comes back, which costs the program a fault. A page that came back two rounds in a row spends the next
// round without resting, one that did so three times the next three. And it has earned another chance if it does not
// come back once: its touches may just lie farther apart than its rest is long. Pure; the caller holds the policy's
// lock.
#pragma once

#include <algorithm>
#include <cstdint>

namespace dsm::proto {

class Reuse {
 public:
  // The page's turn to rest has come. True: it does without, this round.
  bool spared() {
    if (ahead_ == 0) return false;
    --ahead_;
    spared_ = true;
    return true;
  }

  // A round is over, and it came `back` or not. True: it stays for another.
  bool stays(bool back) {
    const bool stays = back || sure();
    if (back) {
      level_ = static_cast<std::uint8_t>(std::min(level_ + 1, kMostLevel)) & 3;
      ahead_ = static_cast<std::uint8_t>((1U << (level_ - 1)) - 1) & 3;
    } else if (!spared_ && level_ >= kChance) {
      level_ = static_cast<std::uint8_t>(level_ - kChance) & 3;
    }
    spared_ = false;
    return stays;
  }

  // Whether it will stay although it has not come back.
  bool sure() const { return spared_ || level_ >= kChance; }

 private:
  static constexpr int kMostLevel = 3;
  static constexpr int kChance = 2;  // what a round without coming back costs

  std::uint8_t level_ : 2 = 0;   // times it came back, less the chances it has had
  std::uint8_t ahead_ : 2 = 0;   // rounds to come in which it need not rest
  std::uint8_t spared_ : 1 = 0;  // this is one
};
static_assert(sizeof(Reuse) == 1);

}  // namespace dsm::proto
