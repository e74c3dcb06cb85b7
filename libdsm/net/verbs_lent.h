// Memory of this process that is often the local side of large operations (Transport::lend): the object cache's. What
// is used is registered, so that the card reads and writes it in place; all else goes through a lane's buffer.
//
// 1. Registering and taking it back is the attendant's work alone: it allocates, and users may be in signal context.
//    Until it is done operations go through buffers.
// 2. A registration is taken back only while no operation uses it, and before its memory is unmapped.
// 3. At the most `limit` bytes are registered. What was not used for longest makes room, if that was kIdleNs ago: a
//    working set above the limit is not registered over and over.
// 4. When the device or the kernel refuses once, one line says so, and nothing more is registered.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/futex.h"
#include "net/verbs_device.h"

namespace dsm::net::verbs {

class LentMemory {
 public:
  static constexpr std::size_t kLeastBytes = 16 << 10;  // of an operation: copying less is cheap

  LentMemory(const Device& device, std::uint64_t limit) : device_(device), limit_(limit) {}
  ~LentMemory();
  LentMemory(const LentMemory&) = delete;
  LentMemory& operator=(const LentMemory&) = delete;

  // Any thread, in signal context too, with signals blocked.
  void lend(std::byte* at, std::size_t bytes);
  bool unmap(std::byte* at, std::size_t bytes);  // true: the attendant has work
  struct Use {
    bool found = false;  // `place` is in use until done()
    bool work = false;   // the attendant has some
    unsigned place = 0;
    std::uint32_t lkey = 0;
  };
  Use use(const std::byte* at, std::size_t bytes);
  void done(unsigned place);

  void attend();  // the attendant
  std::uint64_t registered_bytes() const { return registered_bytes_.load(std::memory_order_relaxed); }

 private:
  enum class State : std::uint8_t {
    kFree,
    kLent,    // known, not registered
    kWanted,  // an operation would have liked it registered
    kBusy,    // the attendant is at it, without the lock
    kRegistered,
  };
  struct Piece {
    State state = State::kFree;
    bool gone = false;  // its owner is done with it: to be unmapped
    std::uint32_t users = 0;
    std::byte* at = nullptr;
    std::size_t bytes = 0;
    std::int64_t used_ns = 0;
    ibv_mr* mr = nullptr;
  };
  static constexpr std::size_t kPieces = 256;
  static constexpr std::int64_t kIdleNs = 1'000'000'000;

  Piece* find(const std::byte* at, std::size_t bytes);
  Piece* next_work();
  bool make_room(std::size_t bytes);
  void take_back(Piece& piece);
  void enter(Piece& piece);

  const Device& device_;
  const std::uint64_t limit_;
  FutexLock lock_;  // of all below
  std::array<Piece, kPieces> pieces_;
  std::size_t top_ = 0;  // pieces from here on are free
  bool refused_ = false;
  std::atomic<std::uint64_t> registered_bytes_{0};
};

}  // namespace dsm::net::verbs
