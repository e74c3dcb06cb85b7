// Finds sequential misses among a node's misses and says how far to fetch ahead. Pure; the caller holds a lock.
#pragma once

#include <array>
#include <cstdint>

#include "base/types.h"

namespace dsm::proto {

// The last few streams of misses, each going up. A stream that goes on gets a window twice as large each time, or as
// large as itself; its next miss is expected right behind the window. No allocation: may be called in signal context.
class Streams {
 public:
  // How many pages behind `missed` to fetch too: 0 for a miss that continues no stream. If others have to give the
  // pages up (`asks`), no more than the stream has had by now, and none at first: among a few pages that several nodes
  // fight for, some follow each other by chance.
  std::uint32_t advise(PageId missed, std::uint32_t most, bool asks);

 private:
  struct Stream {
    PageId first = 0;
    PageId next = ~PageId{0};  // where the stream's next miss is expected
    std::uint32_t window = 0;
    std::uint32_t used = 0;  // when, by clock_
  };
  static constexpr std::uint32_t kFirstWindow = 4;
  static constexpr PageId kAskFrom = 4;       // pages
  static constexpr std::uint32_t kApart = 4;  // misses, others between two of a stream among them: else it is chance

  Stream* expecting(PageId page);  // nullptr: none does
  Stream& oldest();

  std::array<Stream, 8> streams_{};
  std::uint32_t clock_ = 0;
};

}  // namespace dsm::proto
