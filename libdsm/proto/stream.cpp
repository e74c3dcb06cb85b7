#include "proto/stream.h"

#include <algorithm>

namespace dsm::proto {

std::uint32_t Streams::advise(PageId missed, std::uint32_t most) {
  ++clock_;
  const auto found = std::find_if(streams_.begin(), streams_.end(), [&](const Stream& s) { return s.next == missed; });
  if (found != streams_.end()) {
    found->window = std::min(most, found->window == 0 ? kFirstWindow : found->window * 2);
    found->next = missed + 1 + found->window;
    found->used = clock_;
    return found->window;
  }
  auto& oldest = *std::min_element(streams_.begin(), streams_.end(),
                                   [](const Stream& a, const Stream& b) { return a.used < b.used; });
  oldest = {missed + 1, 0, clock_};
  return 0;
}

}  // namespace dsm::proto
