// Reads the userfaultfd while a registered mapping moves. The kernel holds the mover back until its UFFD_EVENT_REMAP
// message has been read, and refuses requests for pages (EAGAIN) meanwhile. The attendant's thread waits for nothing
// else, so a move ends whatever the handler of page faults is waiting for.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "base/result.h"
#include "mem/userfault.h"

namespace dsm::mem {

class MoveAttendant {
 public:
  enum class Duty : std::uint8_t {
    kAlways,       // nobody else reads the descriptor
    kDuringMoves,  // a handler reads it too; page faults that come here instead are put back
  };
  MoveAttendant(const Userfault& userfault, Duty duty) : userfault_(userfault), duty_(duty) {}

  Result<void> start();
  void stop();

  // Moves happen in the scope of a Move.
  class Move {
   public:
    explicit Move(MoveAttendant& attendant) : attendant_(attendant) { attendant_.begin(); }
    ~Move() { attendant_.end(); }
    Move(const Move&) = delete;
    Move& operator=(const Move&) = delete;

   private:
    MoveAttendant& attendant_;
  };

 private:
  enum class Event : std::uint8_t { kMessage, kPoke };

  void begin();
  void end();
  void poke();
  void read_loop();
  Event wait_for_message();

  const Userfault& userfault_;
  const Duty duty_;
  std::thread thread_;
  int poke_fd_ = -1;                     // an eventfd that ends the thread's poll
  std::atomic<std::uint32_t> moves_{0};  // going on; a futex
  std::atomic<bool> stopping_{false};
};

}  // namespace dsm::mem
