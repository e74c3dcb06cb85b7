#include "preload/stand_in.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <span>
#include <tuple>

#include "preload/front.h"
#include "preload/traps.h"
#include "runtime/forks.h"
#include "runtime/node.h"

namespace dsm::preload {
namespace {

constinit std::byte* rooms = nullptr;
constinit std::array<std::atomic<int>, Room::kRooms> holders{};  // threads, 0: none

int this_thread() { return static_cast<int>(call_directly(SYS_gettid, {})); }

// Of any process: a child that shares our memory (vfork) asks for its parent's threads.
bool is_dead(int thread) { return call_directly(SYS_tkill, {static_cast<std::uint64_t>(thread), 0}) == -ESRCH; }

using Bytes = std::size_t (*)(const Arguments& with);
template <typename T>
std::size_t size_of(const Arguments& /*with*/) {
  return sizeof(T);
}
template <typename T, std::size_t kCount>  // as many as an argument says
std::size_t array_of(const Arguments& with) {
  return std::size_t{static_cast<unsigned>(with[kCount])} * sizeof(T);
}
template <std::size_t kLength>  // as many bytes as the number says to which an argument points
std::size_t as_long_as(const Arguments& with) {
  return with[kLength] == 0 ? 0 : *reinterpret_cast<const socklen_t*>(with[kLength]);
}
std::size_t bit_set(const Arguments& with) { return (std::size_t{static_cast<unsigned>(with[0])} + 63) / 64 * 8; }
std::size_t typed_message(const Arguments& with) { return sizeof(long) + with[2]; }
// Where no address is asked for, nobody looks at its length.
std::size_t address_of_peer(const Arguments& with) { return with[1] == 0 ? 0 : as_long_as<2>(with); }
std::size_t length_of_address(const Arguments& with) { return with[1] == 0 ? 0 : sizeof(socklen_t); }

// What the kernel writes where an argument points to when it has waited, or taken something.
struct Output {
  int call;
  std::size_t argument;
  Bytes bytes;
};
constexpr Output kOutputs[] = {
    {SYS_wait4, 1, size_of<int>},
    {SYS_wait4, 3, size_of<rusage>},
    {SYS_waitid, 2, size_of<siginfo_t>},
    {SYS_waitid, 4, size_of<rusage>},
    {SYS_rt_sigtimedwait, 1, size_of<siginfo_t>},
    {SYS_accept, 1, address_of_peer},
    {SYS_accept, 2, length_of_address},
    {SYS_accept4, 1, address_of_peer},
    {SYS_accept4, 2, length_of_address},
    {SYS_getsockopt, 3, as_long_as<4>},
    {SYS_getsockopt, 4, size_of<socklen_t>},
    {SYS_getdents, 1, array_of<char, 2>},
    {SYS_getdents64, 1, array_of<char, 2>},
    {SYS_sendfile, 2, size_of<off_t>},
    {SYS_splice, 1, size_of<off_t>},
    {SYS_splice, 3, size_of<off_t>},
    {SYS_copy_file_range, 1, size_of<off_t>},
    {SYS_copy_file_range, 3, size_of<off_t>},
    {SYS_mq_timedreceive, 1, array_of<char, 2>},
    {SYS_mq_timedreceive, 3, size_of<unsigned>},
    {SYS_msgrcv, 1, typed_message},
    {SYS_poll, 0, array_of<pollfd, 1>},
    {SYS_ppoll, 0, array_of<pollfd, 1>},
    {SYS_ppoll, 2, size_of<timespec>},
    {SYS_select, 1, bit_set},
    {SYS_select, 2, bit_set},
    {SYS_select, 3, bit_set},
    {SYS_select, 4, size_of<timeval>},
    {SYS_pselect6, 1, bit_set},
    {SYS_pselect6, 2, bit_set},
    {SYS_pselect6, 3, bit_set},
    {SYS_pselect6, 4, size_of<timespec>},
    {SYS_nanosleep, 1, size_of<timespec>},
    {SYS_clock_nanosleep, 3, size_of<timespec>},
};

// What stands in for arguments of one call.
class Outputs {
 public:
  Outputs(long number, const Arguments& with) {
    for (const Output& output : kOutputs) {
      if (output.call != number) continue;
      auto* const theirs = reinterpret_cast<std::byte*>(with[output.argument]);
      const std::size_t bytes = output.bytes(with);
      if (needs_stand_in(theirs, bytes)) pieces_[count_++] = {output.argument, theirs, bytes, nullptr, nullptr};
    }
  }
  bool none() const { return count_ == 0; }

  // False if there is too little room.
  bool stand_in(Room& room, Arguments& with) {
    for (Piece& piece : std::span(pieces_).first(count_)) {
      piece.ours = room.place(piece.bytes);
      piece.before = room.place(piece.bytes);
      if (piece.ours == nullptr || piece.before == nullptr) return false;
      std::memcpy(piece.before, piece.theirs, piece.bytes);
      std::memcpy(piece.ours, piece.before, piece.bytes);
      with[piece.argument] = reinterpret_cast<std::uint64_t>(piece.ours);
    }
    return true;
  }
  // What the kernel has written and no more: others may have stored to the rest meanwhile.
  void copy_over() const {
    for (const Piece& piece : std::span(pieces_).first(count_)) {
      for (std::size_t i = 0; i < piece.bytes; ++i) {
        if (piece.ours[i] != piece.before[i]) piece.theirs[i] = piece.ours[i];
      }
    }
  }

 private:
  struct Piece {
    std::size_t argument;
    std::byte* theirs;
    std::size_t bytes;
    std::byte* ours;
    std::byte* before;
  };
  std::array<Piece, std::tuple_size_v<Arguments>> pieces_{};
  std::size_t count_ = 0;
};

}  // namespace

Result<void> reserve_stand_ins() {
  void* const memory = ::mmap(nullptr, Room::kRooms * Room::kBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return fail(Errc::kSystem, "no address space for what stands in for buffers", errno);
  rooms = static_cast<std::byte*>(memory);
  return {};
}

std::optional<Room> Room::take() {
  if (rooms == nullptr) return std::nullopt;  // a thread that was there before the traps
  const int me = this_thread();
  for (std::size_t i = 0; i < kRooms; ++i) {
    int none = 0;
    if (holders[i].load(std::memory_order_relaxed) == 0 && holders[i].compare_exchange_strong(none, me)) return Room(i);
  }
  static constinit std::atomic<std::size_t> turn{0};
  const std::size_t one = turn.fetch_add(1, std::memory_order_relaxed) % kRooms;  // one look a call is enough
  int holder = holders[one].load(std::memory_order_relaxed);
  if (holder != 0 && is_dead(holder) && holders[one].compare_exchange_strong(holder, me)) return Room(one);
  return std::nullopt;
}

void Room::give_back() { holders[number_].store(0, std::memory_order_release); }

std::byte* Room::place(std::size_t bytes) {
  if (bytes > left()) return nullptr;
  std::byte* const memory = rooms + number_ * kBytes + used_;
  used_ = std::min(kBytes, (used_ + bytes + 15) & ~std::size_t{15});
  return memory;
}

bool needs_stand_in(const void* data, std::size_t bytes) {
  const runtime::Node& node = *front_node();
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  if (bytes == 0 || !node.geometry.holds(begin) || runtime::in_forked_child()) return false;
  const std::uintptr_t last = begin + std::min(bytes, Room::kBytes) - 1;
  if (!node.geometry.holds(last)) return false;
  const auto in_use = [&](std::uintptr_t at) {  // a chunk is as a whole
    return node.space->state(node.geometry.page_of(at)) != mem::ChunkState::kUnused;
  };
  return in_use(begin) && in_use(last);
}

std::optional<long> call_with_stand_ins(long number, const Arguments& with) {
  Outputs outputs(number, with);
  if (outputs.none()) return std::nullopt;
  return in_a_room([&](Room& room) -> std::optional<long> {
    Arguments instead = with;
    if (!outputs.stand_in(room, instead)) return std::nullopt;
    const long result = call_with_pages(number, instead);
    outputs.copy_over();
    return result;
  });
}

}  // namespace dsm::preload
