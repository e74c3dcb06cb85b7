// Linux's own answer to memory that does not fit, for bench_bounded: swap on a compressed RAM disk (zram), and a
// control group that bounds a process. Needs root, an unused /dev/zram0 and cgroup's memory controller; leaves nothing
// behind.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace dsm::bench {

class SwapPeer {
 public:
  // The error's context says what this machine lacks.
  static Result<std::unique_ptr<SwapPeer>> set_up(std::uint64_t swap_bytes);
  ~SwapPeer();
  SwapPeer(const SwapPeer&) = delete;
  SwapPeer& operator=(const SwapPeer&) = delete;

  // From now on the calling process has that much memory, all told.
  bool bound_this_process(std::uint64_t bytes) const;
  const std::string& name() const { return name_; }

 private:
  SwapPeer() = default;
  std::string group_;  // its folder; "" if there is none
  bool swapping_ = false;
  bool sized_ = false;
  std::string name_;
};

}  // namespace dsm::bench
