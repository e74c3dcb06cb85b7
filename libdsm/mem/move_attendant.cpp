#include "mem/move_attendant.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/allocation_gate.h"
#include "base/check.h"
#include "base/futex.h"
#include "base/signals.h"

namespace dsm::mem {
namespace {

// Page faults read here although a handler is there for them. They are waked when the move is over, and then fault
// again.
class PutBack {
 public:
  explicit PutBack(const Userfault& userfault) : userfault_(userfault) {}

  void add(const uffd_msg& message) {
    const std::uintptr_t page = message.arg.pagefault.address & ~(kPageBytes - 1);
    if (count_ == kMost) return wake(page);  // at once: it may come here again
    pages_[count_++] = page;
  }
  void wake_all() {
    while (count_ > 0) wake(pages_[--count_]);
  }

 private:
  void wake(std::uintptr_t page) const {
    const int error = userfault_.wake(page, kPageBytes);
    DSM_CHECK(error == 0, "UFFDIO_WAKE: errno {}", error);
  }

  static constexpr std::size_t kMost = 64;
  const Userfault& userfault_;
  std::uintptr_t pages_[kMost];
  std::size_t count_ = 0;
};

}  // namespace

Result<void> MoveAttendant::start() {
  poke_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (poke_fd_ < 0) return fail(Errc::kSystem, "cannot create an eventfd", errno);
  try {
    const SignalsBlocked blocked;  // inherited by the thread: no handler of the program runs there
    thread_ = std::thread([this] { read_loop(); });
  } catch (const std::system_error& error) {
    return fail(Errc::kSystem, "cannot start the thread that attends to moving mappings", error.code().value());
  }
  pthread_setname_np(thread_.native_handle(), "dsm-move");
  return {};
}

void MoveAttendant::stop() {
  if (thread_.joinable()) {
    stopping_.store(true);
    begin();
    poke();
    thread_.join();
  }
  if (poke_fd_ >= 0) close(poke_fd_);
  poke_fd_ = -1;
}

void MoveAttendant::begin() {
  moves_.fetch_add(1);
  if (duty_ == Duty::kDuringMoves) futex_wake(moves_, 1, FutexScope::kProcess);
}

void MoveAttendant::end() {
  moves_.fetch_sub(1);
  if (duty_ == Duty::kDuringMoves) poke();
}

void MoveAttendant::poke() {
  const std::uint64_t one = 1;
  DSM_CHECK(write(poke_fd_, &one, sizeof one) == sizeof one, "writing an eventfd: errno {}", errno);
}

// Thread "dsm-move".
void MoveAttendant::read_loop() {
  const OwnAllocations own;
  PutBack put_back(userfault_);
  uffd_msg buffer[16];
  while (!stopping_.load()) {
    if (duty_ == Duty::kDuringMoves && moves_.load() == 0) {
      put_back.wake_all();
      futex_wait(moves_, 0, FutexScope::kProcess);
      continue;
    }
    if (wait_for_message() == Event::kPoke) put_back.wake_all();  // a move has ended, though the next may go on
    for (const uffd_msg& message : userfault_.read(buffer)) {
      if (message.event == UFFD_EVENT_PAGEFAULT) put_back.add(message);  // any other need only be read
    }
  }
  put_back.wake_all();
}

MoveAttendant::Event MoveAttendant::wait_for_message() {
  pollfd watched[] = {{userfault_.fd(), POLLIN, 0}, {poke_fd_, POLLIN, 0}};
  while (poll(watched, 2, -1) < 0) DSM_CHECK(errno == EINTR, "poll: errno {}", errno);
  if (watched[1].revents == 0) return Event::kMessage;
  std::uint64_t pokes = 0;
  DSM_CHECK(read(poke_fd_, &pokes, sizeof pokes) == sizeof pokes, "reading an eventfd: errno {}", errno);
  return Event::kPoke;
}

}  // namespace dsm::mem
