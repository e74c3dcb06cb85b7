// Objects of this node that a thread has taken to run calls on them: a few at once, without ever waiting.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "hints/borrow.h"

namespace dsm::placed {

class Taken {
 public:
  static constexpr std::size_t kMost = 16;

  explicit Taken(hints::Engine& engine);

  // False: somebody has it, it cannot be in object mode just now, this holds as many as it can, or it lies in the
  // interleaved region.
  bool take(std::uint64_t address, std::size_t bytes);
  // All were changed.
  void let_go();
  std::size_t count() const { return count_; }
  void* const* objects() const { return objects_.data(); }
  void prefetch(std::uint64_t address) const;

 private:
  bool pages_open(std::uint64_t address, std::size_t bytes) const;
  bool hold_pages(hints::Pin& pin, std::uint64_t address, std::size_t bytes) const;
  bool lock(std::uint64_t address, std::size_t bytes) const;
  bool swap(std::uint64_t address, proto::Header& seen, proto::Header desired) const;
  proto::Header add(std::uint64_t address, proto::Header addend) const;
  std::uint64_t execute(net::Op op) const;
  std::atomic<proto::Header>& header(std::uint64_t address) const;

  hints::Engine& engine_;
  const std::uint64_t base_, slice_, slice_bytes_;
  const std::atomic<std::uint64_t>* const pages_;  // of the slice
  std::byte* const memory_;                        // of the whole global range
  std::byte* const headers_;                       // likewise
  const bool on_cpu_;                              // headers are changed by the processor's atomics
  std::size_t count_ = 0;
  std::size_t held_ = 0;  // objects: the one taken last may be taken again
  std::size_t most_ = 0;  // pins of this thread that are free
  std::array<hints::Pin*, kMost> pins_;
  std::array<void*, kMost> objects_;
};

}  // namespace dsm::placed
