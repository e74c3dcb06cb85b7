#include "preload/stand_in.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <tuple>

#include "preload/front.h"
#include "runtime/forks.h"
#include "runtime/node.h"

namespace dsm::preload {
namespace {

constinit std::byte* rooms = nullptr;
constinit std::array<std::atomic<int>, Room::kRooms> holders{};  // threads, 0: none

int this_thread() { return static_cast<int>(call_directly(SYS_gettid, {})); }

bool is_dead(int thread) {
  const long process = call_directly(SYS_getpid, {});
  return call_directly(SYS_tgkill, {static_cast<std::uint64_t>(process), static_cast<std::uint64_t>(thread), 0}) ==
         -ESRCH;
}

using Bytes = std::size_t (*)(const Arguments& with);
template <typename T>
std::size_t size_of(const Arguments& /*with*/) {
  return sizeof(T);
}
template <typename T, std::size_t kCount>  // as many as an argument says
std::size_t array_of(const Arguments& with) {
  return with[kCount] * sizeof(T);
}
std::size_t bit_set(const Arguments& with) { return (with[0] + 63) / 64 * 8; }
std::size_t typed_message(const Arguments& with) { return sizeof(long) + with[2]; }
std::size_t socket_address(const Arguments& with) {
  return with[2] == 0 ? 0 : std::min<std::size_t>(*reinterpret_cast<socklen_t*>(with[2]), sizeof(sockaddr_storage));
}

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
    {SYS_accept, 1, socket_address},
    {SYS_accept, 2, size_of<socklen_t>},
    {SYS_accept4, 1, socket_address},
    {SYS_accept4, 2, size_of<socklen_t>},
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

// What stands in for the arguments of one call.
class Outputs {
 public:
  // False if there is no room.
  bool add(Room& room, std::size_t argument, void* theirs, std::size_t bytes) {
    std::byte* const ours = room.place(bytes);
    if (ours == nullptr) return false;
    std::memcpy(ours, theirs, bytes);  // the kernel may leave parts of it as they are
    pieces_[count_++] = {argument, theirs, ours, bytes};
    return true;
  }
  bool none() const { return count_ == 0; }
  Arguments in(Arguments with) const {
    for (std::size_t i = 0; i < count_; ++i) {
      with[pieces_[i].argument] = reinterpret_cast<std::uint64_t>(pieces_[i].ours);
    }
    return with;
  }
  void copy_over() const {
    for (std::size_t i = 0; i < count_; ++i) std::memcpy(pieces_[i].theirs, pieces_[i].ours, pieces_[i].bytes);
  }

 private:
  struct Piece {
    std::size_t argument;
    void* theirs;
    std::byte* ours;
    std::size_t bytes;
  };
  std::array<Piece, std::tuple_size_v<Arguments>> pieces_{};
  std::size_t count_ = 0;
};

std::optional<long> call_with_outputs(Room& room, long number, const Arguments& with) {
  Outputs outputs;
  for (const Output& output : kOutputs) {
    if (output.call != number) continue;
    auto* const theirs = reinterpret_cast<void*>(with[output.argument]);
    const std::size_t bytes = output.bytes(with);
    if (needs_stand_in(theirs, bytes) && !outputs.add(room, output.argument, theirs, bytes)) return std::nullopt;
  }
  if (outputs.none()) return std::nullopt;
  const long result = call_directly(number, outputs.in(with));
  if (result >= 0 || result == -EINTR) outputs.copy_over();
  return result;
}

bool has_outputs(long number) {
  return std::any_of(std::begin(kOutputs), std::end(kOutputs),
                     [&](const Output& output) { return output.call == number; });
}

}  // namespace

Result<void> reserve_stand_ins() {
  void* const memory = ::mmap(nullptr, Room::kRooms * Room::kBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return fail(Errc::kSystem, "no address space for what stands in for buffers", errno);
  rooms = static_cast<std::byte*>(memory);
  return {};
}

std::optional<Room> Room::take() {
  const int me = this_thread();
  for (std::size_t i = 0; i < kRooms; ++i) {
    int none = 0;
    if (holders[i].load(std::memory_order_relaxed) == 0 && holders[i].compare_exchange_strong(none, me)) return Room(i);
  }
  for (std::size_t i = 0; i < kRooms; ++i) {
    int holder = holders[i].load(std::memory_order_relaxed);
    if (holder != 0 && is_dead(holder) && holders[i].compare_exchange_strong(holder, me)) return Room(i);
  }
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
  if (bytes == 0 || begin + bytes < begin || !node.geometry.holds(begin) || !node.geometry.holds(begin + bytes - 1) ||
      runtime::in_forked_child()) {
    return false;
  }
  for (PageId page = node.geometry.page_of(begin); page <= node.geometry.page_of(begin + bytes - 1); ++page) {
    if (node.space->state(page) == mem::ChunkState::kUnused) return false;
  }
  return true;
}

std::optional<long> call_with_stand_ins(long number, const Arguments& with) {
  if (!has_outputs(number)) return std::nullopt;
  std::optional<Room> room = Room::take();
  if (!room) return std::nullopt;
  const std::optional<long> result = call_with_outputs(*room, number, with);
  room->give_back();
  return result;
}

}  // namespace dsm::preload
