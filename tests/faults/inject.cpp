// LD_PRELOAD library that makes system calls of a chosen process fail as a machine in trouble does. Told by variables:
//
//   FAULT_CALL=mmap FAULT_NUMBER=7 FAULT_ERRNO=12   the seventh call of mmap fails with ENOMEM, in the first process of
//   FAULT_TOKEN=/path                               the job that gets there: it creates this file and is the only one
//   FAULT_CALL=site FAULT_NUMBER=7                  the first allocation at the seventh place in the code that
//   allocates FAULT_NAME=dsmrun                               in programs of this name only FAULT_DISTURB=17 from this
//   seed: interrupted calls, short reads and writes, now and then FAULT_CLOCK=1                                   the
//   time of day jumps by hours, back and forth FAULT_REFUSE=323                                a seccomp filter answers
//   EPERM to this system call's number
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>

namespace {

struct Orders {
  char call[32] = "";
  long number = 0;
  int error = 0;
  char token[256] = "";
  bool clock = false;
  std::atomic<std::uint64_t> disturb{0};  // state of a generator; 0: off
};

Orders orders;
std::atomic<long> calls{0};

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}
// The function behind this one, looked up once.
#define NEXT(name)                                            \
  (*[] {                                                      \
    static const auto found = next<decltype(&::name)>(#name); \
    return found;                                             \
  }())

const char* variable(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

void refuse_call(unsigned number) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {static_cast<unsigned short>(std::size(filter)), filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    std::abort();
  }
}

__attribute__((constructor)) void read_orders() {
  const char* const name = variable("FAULT_NAME", "");
  if (*name != '\0' && std::strcmp(name, program_invocation_short_name) != 0) return;
  std::strncpy(orders.call, variable("FAULT_CALL", ""), sizeof orders.call - 1);
  std::strncpy(orders.token, variable("FAULT_TOKEN", ""), sizeof orders.token - 1);
  orders.number = std::atol(variable("FAULT_NUMBER", "0"));
  orders.error = std::atoi(variable("FAULT_ERRNO", "0"));
  orders.clock = *variable("FAULT_CLOCK", "") != '\0';
  orders.disturb = std::strtoull(variable("FAULT_DISTURB", "0"), nullptr, 10);
  if (const int refused = std::atoi(variable("FAULT_REFUSE", "0")); refused != 0) {
    refuse_call(static_cast<unsigned>(refused));
  }
}

// Whether this call is the one that fails; errno is set then.
bool fails(const char* call) {
  if (std::strcmp(call, orders.call) != 0 || calls.fetch_add(1) + 1 != orders.number) return false;
  const long token = ::syscall(SYS_open, orders.token, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (token < 0) return false;
  ::syscall(SYS_close, token);
  errno = orders.error;
  return true;
}

// Whether an allocation is the first one from this place in the code, and that place is the one whose turn it is.
bool fails_at(const void* caller) {
  static std::atomic<const void*> places[8192];
  if (std::strcmp(orders.call, "site") != 0) return false;
  const auto hash = reinterpret_cast<std::uintptr_t>(caller) * 0x9e3779b97f4a7c15;
  for (std::size_t i = hash >> 51;; i = (i + 1) % std::size(places)) {
    const void* there = nullptr;
    if (places[i].compare_exchange_strong(there, caller)) return fails("site");
    if (there == caller) return false;
  }
}
#define ALLOCATION_FAILS(name) (fails_at(__builtin_return_address(0)) || fails(name))

// True about one time in `every`, if calls are to be disturbed.
bool disturbs(unsigned every) {
  if (orders.disturb.load(std::memory_order_relaxed) == 0) return false;
  std::uint64_t state = orders.disturb.fetch_add(0x9e3779b97f4a7c15) + static_cast<std::uint64_t>(::getpid());
  state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9;
  state = (state ^ state >> 27) * 0x94d049bb133111eb;
  return (state ^ state >> 31) % every == 0;
}
bool interrupted() {
  if (!disturbs(3)) return false;
  errno = EINTR;
  return true;
}
std::size_t shortened(std::size_t bytes) { return bytes > 1 && disturbs(3) ? 1 + bytes / 3 : bytes; }

bool may_block(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT void* mmap(void* at, size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  if (ALLOCATION_FAILS("mmap")) return MAP_FAILED;
  return NEXT(mmap)(at, bytes, protection, flags, fd, offset);
}
EXPORT int memfd_create(const char* name, unsigned flags) noexcept {
  return fails("memfd_create") ? -1 : NEXT(memfd_create)(name, flags);
}
EXPORT int ftruncate(int fd, off_t bytes) noexcept { return fails("ftruncate") ? -1 : NEXT(ftruncate)(fd, bytes); }
EXPORT int fallocate(int fd, int mode, off_t offset, off_t bytes) {
  return fails("fallocate") ? -1 : NEXT(fallocate)(fd, mode, offset, bytes);
}
EXPORT int socketpair(int domain, int type, int protocol, int ends[2]) noexcept {
  return fails("socketpair") ? -1 : NEXT(socketpair)(domain, type, protocol, ends);
}
EXPORT int pipe2(int ends[2], int flags) noexcept { return fails("pipe2") ? -1 : NEXT(pipe2)(ends, flags); }
EXPORT int eventfd(unsigned value, int flags) noexcept { return fails("eventfd") ? -1 : NEXT(eventfd)(value, flags); }
EXPORT int timerfd_create(int clock, int flags) noexcept {
  return fails("timerfd_create") ? -1 : NEXT(timerfd_create)(clock, flags);
}
EXPORT int epoll_create1(int flags) noexcept { return fails("epoll_create1") ? -1 : NEXT(epoll_create1)(flags); }
EXPORT int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                          void* argument) noexcept {
  return fails("pthread_create") ? orders.error : NEXT(pthread_create)(thread, attributes, start, argument);
}
EXPORT pid_t fork() noexcept { return fails("fork") ? -1 : NEXT(fork)(); }
EXPORT int mprotect(void* at, size_t bytes, int protection) noexcept {
  return fails("mprotect") ? -1 : NEXT(mprotect)(at, bytes, protection);
}
EXPORT void* malloc(size_t bytes) noexcept { return ALLOCATION_FAILS("malloc") ? nullptr : NEXT(malloc)(bytes); }
EXPORT void* realloc(void* block, size_t bytes) noexcept {
  return ALLOCATION_FAILS("realloc") ? nullptr : NEXT(realloc)(block, bytes);
}
EXPORT void* aligned_alloc(size_t alignment, size_t bytes) noexcept {
  return ALLOCATION_FAILS("aligned_alloc") ? nullptr : NEXT(aligned_alloc)(alignment, bytes);
}
__attribute__((visibility("default"))) void* operator new(std::size_t bytes) {
  void* const block = ALLOCATION_FAILS("new") ? nullptr : NEXT(malloc)(bytes == 0 ? 1 : bytes);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}
__attribute__((visibility("default"))) void operator delete(void* block) noexcept { std::free(block); }
__attribute__((visibility("default"))) void operator delete(void* block, std::size_t) noexcept { std::free(block); }

EXPORT int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  // Waking allocates nothing: a check says that it does not fail.
  return request != UFFDIO_WAKE && fails("ioctl") ? -1 : NEXT(ioctl)(fd, request, argument);
}
EXPORT long syscall(long number, ...) noexcept {
  va_list arguments;
  va_start(arguments, number);
  long values[6];
  for (long& value : values) value = va_arg(arguments, long);
  va_end(arguments);
  if (number == SYS_userfaultfd && fails("userfaultfd")) return -1;
  if (number == SYS_membarrier && fails("membarrier")) return -1;
  return NEXT(syscall)(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

EXPORT ssize_t read(int fd, void* to, size_t bytes) {
  if (fails("read") || (may_block(fd) && interrupted())) return -1;
  return NEXT(read)(fd, to, bytes);  // short ones come of the short writes at the other end
}
EXPORT ssize_t write(int fd, const void* from, size_t bytes) {
  const bool number = bytes == 8;  // an eventfd's: it is not full, so nothing interrupts that
  if (fails("write") || (!number && may_block(fd) && interrupted())) return -1;
  return NEXT(write)(fd, from, number ? bytes : shortened(bytes));
}
EXPORT ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  if (fails("sendmsg") || interrupted()) return -1;
  return NEXT(sendmsg)(fd, message, flags);
}
EXPORT ssize_t recvmsg(int fd, msghdr* message, int flags) {
  if (fails("recvmsg") || interrupted()) return -1;
  if ((flags & MSG_DONTWAIT) != 0 && disturbs(4)) return errno = EAGAIN, -1;
  return NEXT(recvmsg)(fd, message, flags);
}
// Of the launchers of several hosts, by TCP.
EXPORT ssize_t send(int fd, const void* from, size_t bytes, int flags) {
  if (fails("send") || interrupted()) return -1;
  if ((flags & MSG_DONTWAIT) != 0 && disturbs(4)) return errno = EAGAIN, -1;
  return NEXT(send)(fd, from, shortened(bytes), flags);
}
EXPORT ssize_t recv(int fd, void* to, size_t bytes, int flags) {
  if (fails("recv") || interrupted()) return -1;
  if ((flags & MSG_DONTWAIT) != 0 && disturbs(4)) return errno = EAGAIN, -1;
  return NEXT(recv)(fd, to, shortened(bytes), flags);
}
EXPORT int poll(pollfd* polled, nfds_t count, int timeout) {
  return fails("poll") || interrupted() ? -1 : NEXT(poll)(polled, count, timeout);
}
EXPORT int epoll_wait(int fd, epoll_event* events, int most, int timeout) {
  return fails("epoll_wait") || interrupted() ? -1 : NEXT(epoll_wait)(fd, events, most, timeout);
}

EXPORT int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const int result = static_cast<int>(::syscall(SYS_clock_gettime, clock, time));
  if (result == 0 && clock == CLOCK_REALTIME && orders.clock) time->tv_sec += (time->tv_nsec & 1) != 0 ? 7200 : -7200;
  return result;
}
EXPORT int gettimeofday(timeval* time, void*) noexcept {
  timespec precise{};
  clock_gettime(CLOCK_REALTIME, &precise);
  *time = {precise.tv_sec, precise.tv_nsec / 1000};
  return 0;
}
EXPORT time_t time(time_t* to) noexcept {
  timespec precise{};
  clock_gettime(CLOCK_REALTIME, &precise);
  if (to != nullptr) *to = precise.tv_sec;
  return precise.tv_sec;
}
