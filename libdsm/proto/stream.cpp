#include "proto/stream.h"

#include <algorithm>

namespace dsm::proto {

std::uint32_t Streams::advise(PageId missed, std::uint32_t most, bool asks) {
  ++clock_;
  if (Stream* const stream = expecting(missed)) {
    if (clock_ - stream->used > kApart) stream->first = missed;
    const PageId had = missed + 1 - stream->first;
    stream->window = std::min(most, stream->window == 0 ? kFirstWindow : stream->window * 2);
    if (asks) stream->window = had < kAskFrom ? 0 : static_cast<std::uint32_t>(std::min<PageId>(most, had));
    stream->next = missed + 1 + stream->window;
    stream->used = clock_;
    return stream->window;
  }
  Stream* const known = expecting(missed + 1);  // this very page was missed last time too: it is contended
  Stream& stream = known != nullptr ? *known : oldest();
  if (known == nullptr) stream = {missed, missed + 1, 0, clock_};
  stream.used = clock_;
  return 0;
}

Streams::Stream* Streams::expecting(PageId page) {
  const auto found = std::find_if(streams_.begin(), streams_.end(), [=](const Stream& s) { return s.next == page; });
  return found == streams_.end() ? nullptr : &*found;
}

Streams::Stream& Streams::oldest() {
  return *std::min_element(streams_.begin(), streams_.end(),
                           [](const Stream& a, const Stream& b) { return a.used < b.used; });
}

}  // namespace dsm::proto
