// Private memory that the kernel writes to in place of the program's, and that is copied over afterwards. Some calls
// take what they hand over: a datagram, a connection, a child's status, an event's count. Where the kernel does not
// wait for a missing page (traps.h), a page that is taken away while such a call waits would cost what came, and to
// make the call again would not bring it back.
#pragma once

#include <cstddef>
#include <optional>

#include "preload/direct_call.h"

namespace dsm::preload {

// Once, before any trap.
Result<void> reserve_stand_ins();

// A piece of private memory, given out from its beginning. A process has kRooms of them; whoever finds none makes the
// call as any other. No destructor gives it back, as a thread may be cancelled at any instruction in between, where the
// unwinder would find none: what a dead thread had is taken by others in the end. A handler that jumps out of a call
// that waits (siglongjmp) keeps a room from its thread for good.
class Room {
 public:
  static constexpr std::size_t kBytes = std::size_t{256} << 10;
  static constexpr std::size_t kRooms = 1024;

  static std::optional<Room> take();
  void give_back();

  std::size_t left() const { return kBytes - used_; }
  std::byte* place(std::size_t bytes);  // nullptr if there is less left; aligned to 16 bytes
  template <typename T>
  T* place_of(std::size_t count) {
    return reinterpret_cast<T*>(place(count * sizeof(T)));
  }

 private:
  explicit Room(std::size_t number) : number_(number) {}
  std::size_t number_;
  std::size_t used_ = 0;
};

// call(room), which gives the kernel's answer or nullopt if it needs more room; nullopt if there is no room at all.
template <typename Call>
std::optional<long> in_a_room(Call call) {
  std::optional<Room> room = Room::take();
  if (!room) return std::nullopt;
  const std::optional<long> result = call(*room);
  room->give_back();
  return result;
}

// Whether it is memory of the global range, and in use: the kernel might not find all of it. Of what is longer than a
// room its beginning counts.
bool needs_stand_in(const void* data, std::size_t bytes);

// The kernel's answer, if the call is one that takes or waits, and writes a result of known size to such memory.
std::optional<long> call_with_stand_ins(long number, const Arguments& with);

}  // namespace dsm::preload
