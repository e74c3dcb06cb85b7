// Whether a page that comes in because it is read will be written, too. If it will, it is better fetched for both: to
// find out costs a fault, which takes about as long as fetching it. But then nobody sees whether it is written, and it
// goes home when it leaves. So after two stays in a row that were looked at, and in which the page was read and then
// written, the next three are taken to be alike; after another one seven; and then one is looked at again. A page that
// was written and is only read from then on is never foreseen. Pure; the caller holds the page's lock.
#pragma once

#include <algorithm>
#include <cstdint>

namespace dsm::proto {

class Rewrites {
 public:
  // The page comes in because it is read. True: to be written, too.
  bool foresee() {
    if (ahead_ != 0) {
      --ahead_;
      return true;
    }
    if (looking_) level_ = 0;  // it was not written, last time
    looking_ = true;
    return false;
  }

  // It was here to be read only, and is written.
  void written() {
    if (!looking_) return;  // cleaned meanwhile, or lowered: that says nothing about the read before
    looking_ = false;
    level_ = static_cast<std::uint8_t>(std::min(level_ + 1, kMostLevel)) & 3;
    if (level_ > 1) ahead_ = static_cast<std::uint8_t>((1U << level_) - 1) & 7;
  }

 private:
  static constexpr int kMostLevel = 3;

  std::uint8_t level_ : 2 = 0;  // stays in a row that were looked at, and written in
  std::uint8_t ahead_ : 3 = 0;  // stays to come that are foreseen
  std::uint8_t looking_ : 1 = 0;
};
static_assert(sizeof(Rewrites) == 1);

}  // namespace dsm::proto
