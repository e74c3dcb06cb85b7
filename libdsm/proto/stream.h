// Finds sequential misses among a node's misses and says how far to fetch ahead. Pure; the caller holds a lock.
#pragma once

#include <array>
#include <cstdint>

#include "base/types.h"

namespace dsm::proto {

// The last few streams of misses, each going up. A stream that goes on gets a window twice as large each time; its next
// miss is expected right behind the window. No allocation: may be called in signal context.
class Streams {
 public:
  // How many pages behind `missed` to fetch too: 0 for a miss that continues no stream.
  std::uint32_t advise(PageId missed, std::uint32_t most);

 private:
  struct Stream {
    PageId next = ~PageId{0};  // where the stream's next miss is expected
    std::uint32_t window = 0;
    std::uint32_t used = 0;  // when, by clock_
  };
  static constexpr std::uint32_t kFirstWindow = 4;

  Stream* expecting(PageId page);  // nullptr: none does
  Stream& oldest();

  std::array<Stream, 8> streams_{};
  std::uint32_t clock_ = 0;
};

}  // namespace dsm::proto
