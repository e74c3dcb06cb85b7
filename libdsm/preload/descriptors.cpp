#include "preload/descriptors.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bitset>
#include <cerrno>
#include <climits>

#include "preload/front.h"

extern "C" int __close(int fd);

// What the runtime's own code means by the name (--wrap in CMakeLists.txt).
extern "C" int __wrap_close(int fd) { return __close(fd); }

namespace dsm::preload {
namespace {

constexpr int kLeastOwn = 200;
constexpr int kMostOwn = 1024;  // descriptors from here on are not looked at

// Written by the constructor only, before there are other threads of the program.
constinit std::bitset<kMostOwn> own{};
constinit struct stat before[kMostOwn] {};  // st_nlink is 0 where nothing was open
constinit std::bitset<kMostOwn> placeholders{};
constinit pollfd asked[kMostOwn]{};
constinit int own_end = 0;  // no descriptor from here on is the runtime's

int limit_on_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMostOwn;
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, kMostOwn));
}

// Calls use(fd) for each that is open. One call of the kernel tells of all: a start of a program is not to take a
// millisecond for them. Where it is refused (a filter of system calls), each is asked about.
template <typename Use>
void for_each_open(Use use) {
  const int limit = limit_on_descriptors();
  for (int fd = 0; fd < limit; ++fd) asked[fd] = {.fd = fd, .events = 0, .revents = 0};
  int told = 0;
  do {
    told = ::poll(asked, static_cast<nfds_t>(limit), 0);
  } while (told < 0 && errno == EINTR);
  for (int fd = 0; fd < limit; ++fd) {
    if (told >= 0 ? (asked[fd].revents & POLLNVAL) == 0 : ::fcntl(fd, F_GETFD) >= 0) use(fd);
  }
}

// A number that was open before may have been closed and taken again (the rendezvous with dsmrun is).
bool is_as_before(int fd) {
  const struct stat& old = before[fd];
  struct stat now {};
  return old.st_nlink != 0 && ::fstat(fd, &now) == 0 && now.st_ino == old.st_ino && now.st_dev == old.st_dev;
}

bool is_own(int fd) { return fd >= 0 && fd < own_end && own.test(static_cast<std::size_t>(fd)); }

int bad_descriptor() {
  errno = EBADF;
  return -1;
}

// The kernel's close_range on the gaps between the runtime's descriptors.
int close_range_around_own(unsigned first, unsigned last, int flags) {
  const unsigned end = static_cast<unsigned>(own_end);
  while (first < end && first <= last) {
    unsigned stop = first;
    while (stop < end && stop <= last && !own.test(stop)) ++stop;
    if (stop > first && ::syscall(SYS_close_range, first, stop - 1, flags) != 0) return -1;
    first = stop + 1;
  }
  if (first > last) return 0;
  return static_cast<int>(::syscall(SYS_close_range, first, last, flags));
}

}  // namespace

OwnDescriptors::OwnDescriptors() {
  for_each_open([](int fd) { static_cast<void>(::fstat(fd, &before[fd])); });
  const int least = std::min(kLeastOwn, limit_on_descriptors() / 2);
  int filler = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  while (filler >= 0 && filler < least) {
    placeholders.set(static_cast<std::size_t>(filler));
    filler = ::fcntl(filler, F_DUPFD_CLOEXEC, filler);
  }
  if (filler >= 0) __close(filler);
}

OwnDescriptors::~OwnDescriptors() {
  for_each_open([](int fd) {
    const auto bit = static_cast<std::size_t>(fd);
    if (placeholders.test(bit)) {
      __close(fd);
    } else if (!is_as_before(fd)) {
      own.set(bit);
      own_end = fd + 1;
    }
  });
}

DSM_INTERPOSED int close(int fd) { return is_own(fd) ? bad_descriptor() : __close(fd); }

DSM_INTERPOSED int close_range(unsigned first, unsigned last, int flags) {
  // Without the children in mind (CLOSE_RANGE_UNSHARE asks for a table of the caller's own) one call is as good as
  // more.
  if (own_end == 0 || (static_cast<unsigned>(flags) & CLOSE_RANGE_CLOEXEC) != 0 || first > last) {
    return static_cast<int>(::syscall(SYS_close_range, first, last, flags));
  }
  return close_range_around_own(first, last, flags);
}

DSM_INTERPOSED void closefrom(int first) {
  const auto from = static_cast<unsigned>(std::max(first, 0));
  if (close_range(from, UINT_MAX, 0) == 0) return;
  for (int fd = static_cast<int>(from), end = static_cast<int>(::sysconf(_SC_OPEN_MAX)); fd < end; ++fd) close(fd);
}

DSM_INTERPOSED int dup2(int from, int to) noexcept {
  return is_own(to) ? bad_descriptor() : static_cast<int>(::syscall(SYS_dup2, from, to));
}

DSM_INTERPOSED int dup3(int from, int to, int flags) noexcept {
  return is_own(to) ? bad_descriptor() : static_cast<int>(::syscall(SYS_dup3, from, to, flags));
}

}  // namespace dsm::preload
