#include "proto/life.h"

namespace dsm::proto {

LifeEnd end_of_life(Header word, bool alone) {
  if (word == 0) return {.word = 0};
  LifeEnd end{.word = word + kOneVersion};
  if (alone) end.word &= ~kColoured;
  if (alone && !is_free(word)) end.forgets = holder_of(word);
  if (alone && hold_of(word) == Hold::kStanding) end.word &= ~kHoldMask;
  end.all_forget = colour_wraps(version_of(end.word));
  return end;
}

Header begin_of_life(Header word) { return word | kColoured; }

}  // namespace dsm::proto
