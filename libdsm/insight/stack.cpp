#include "insight/stack.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>
#include <unwind.h>

#include <cerrno>
#include <cstring>

namespace dsm::insight {
namespace {

constexpr std::size_t kMostSteps = 48;  // the runtime's own frames included

struct Walk {
  std::uint64_t* addresses;
  std::size_t most;
  std::size_t skip;   // frames of our own that are still to come
  bool until_signal;  // they end with the interrupted function
  std::size_t found = 0;
  std::size_t steps = 0;
};

_Unwind_Reason_Code on_frame(_Unwind_Context* context, void* argument) {
  Walk& walk = *static_cast<Walk*>(argument);
  int before = 0;  // the address is of an instruction that has not run yet: a signal interrupted it
  const auto address = static_cast<std::uint64_t>(_Unwind_GetIPInfo(context, &before));
  if (address == 0 || ++walk.steps > kMostSteps) return _URC_END_OF_STACK;
  if (walk.until_signal) {
    if (before == 0) return _URC_NO_REASON;
    walk.until_signal = false;
  } else if (walk.skip != 0) {
    --walk.skip;
    return _URC_NO_REASON;
  }
  walk.addresses[walk.found++] = address;
  return walk.found < walk.most ? _URC_NO_REASON : _URC_END_OF_STACK;
}

}  // namespace

[[gnu::noinline]] std::size_t walk_stack(From from, std::uint64_t* addresses, std::size_t most) {
  Walk walk{addresses, most, from == From::kCaller ? std::size_t{2} : 0, from == From::kInterrupted};
  _Unwind_Backtrace(on_frame, &walk);
  return walk.found;
}

// The last of "-1 0x7ffd... 0x55..." is the instruction; the first is a system call's number, or -1 for none.
std::uint64_t suspended_at(pid_t tid) {
  char name[64]{};
  fmt::format_to_n(name, sizeof name - 1, "/proc/self/task/{}/syscall", tid);
  const int saved_errno = errno;
  char text[256]{};
  const int fd = ::open(name, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd >= 0 ? ::read(fd, text, sizeof text - 1) : -1;
  if (fd >= 0) ::close(fd);
  errno = saved_errno;
  if (got <= 0) return 0;
  const char* const last = std::strrchr(text, ' ');
  if (last == nullptr || std::strncmp(last, " 0x", 3) != 0) return 0;
  std::uint64_t address = 0;
  for (const char* digit = last + 3; *digit != '\0' && *digit != '\n'; ++digit) {
    const char letter = *digit;
    address = address * 16 + static_cast<std::uint64_t>(letter <= '9' ? letter - '0' : letter - 'a' + 10);
  }
  return address;
}

}  // namespace dsm::insight
