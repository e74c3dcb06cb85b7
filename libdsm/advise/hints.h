// The hints, which of them suits a pattern, and what memory costs with it: pure code.
#pragma once

#include <cstdint>
#include <string_view>

#include "advise/classify.h"

namespace dsm::advise {

enum class Hint : std::uint8_t {
  kNone,
  kBorrowMut,
  kBorrowShared,
  kPrefetch,
  kTransfer,
  kPlacement,
  kOwnPtr,
  kGroup,
  kGuarded,
};
inline constexpr std::size_t kHints = 9;
std::string_view name_of(Hint hint);
// What to write at the line, in a sentence.
std::string_view advice_for(Hint hint);

// What an operation costs on the network that the job ran on.
struct Network {
  double round_trip_ns;
  double bytes_per_us;
};
Network network_of(std::string_view emulate);

// Which hint suits a pattern, and what the site's faults cost with it. `disturbed`: pages are lost and come back.
Hint hint_for(Pattern pattern, bool disturbed);
double cost_with(Hint hint, double faults, double bytes, const Network& network);
// What takes more changes to the program than that.
Hint more_for(Pattern pattern, bool disturbed, bool small_blocks);

}  // namespace dsm::advise
