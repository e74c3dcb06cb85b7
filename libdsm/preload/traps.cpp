#include "preload/traps.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <vector>

#include "preload/direct_call.h"
#include "preload/front.h"
#include "preload/receive.h"
#include "preload/stand_in.h"
#include "runtime/forks.h"
#include "runtime/node.h"

namespace dsm::preload {
namespace {

// The arguments of a call that point to what the kernel reads or writes, a bit each. Not here, and so left alone: calls
// about mappings, which name addresses and not what lies there; those whose outcome belongs to the stack that makes
// them (clone, execve, sigreturn); and sigprocmask, which signals.cpp hands the kernel from the stack. Of futex only
// the word: libc leaves what it does not need undefined.
struct Call {
  int number;
  unsigned pointers;
};
constexpr unsigned at(std::initializer_list<unsigned> arguments) {
  unsigned bits = 0;
  for (const unsigned argument : arguments) bits |= 1U << argument;
  return bits;
}
constexpr Call kCalls[] = {
    // clang-format off
    {SYS_read, at({1})}, {SYS_write, at({1})}, {SYS_futex, at({0})}, {SYS_pread64, at({1})}, {SYS_pwrite64, at({1})},
    {SYS_readv, at({1})}, {SYS_writev, at({1})}, {SYS_recvfrom, at({1, 4, 5})}, {SYS_sendto, at({1, 4})},
    {SYS_recvmsg, at({1})}, {SYS_sendmsg, at({1})}, {SYS_poll, at({0})}, {SYS_epoll_wait, at({1})},
    {SYS_epoll_ctl, at({3})}, {SYS_openat, at({1})}, {SYS_open, at({0})}, {SYS_newfstatat, at({1, 2})},
    {SYS_fstat, at({1})}, {SYS_stat, at({0, 1})}, {SYS_lstat, at({0, 1})}, {SYS_statx, at({1, 4})},
    {SYS_access, at({0})}, {SYS_faccessat, at({1})}, {SYS_faccessat2, at({1})}, {SYS_ioctl, at({2})},
    {SYS_fcntl, at({2})}, {SYS_getdents64, at({1})}, {SYS_getdents, at({1})}, {SYS_readlink, at({0, 1})},
    {SYS_readlinkat, at({1, 2})}, {SYS_getcwd, at({0})}, {SYS_wait4, at({1, 3})}, {SYS_waitid, at({2, 4})},
    {SYS_pipe, at({0})}, {SYS_pipe2, at({0})}, {SYS_select, at({1, 2, 3, 4})}, {SYS_pselect6, at({1, 2, 3, 4, 5})},
    {SYS_ppoll, at({0, 2, 3})}, {SYS_epoll_pwait, at({1, 4})}, {SYS_epoll_pwait2, at({1, 3, 4})},
    {SYS_nanosleep, at({0, 1})}, {SYS_clock_nanosleep, at({2, 3})}, {SYS_clock_gettime, at({1})},
    {SYS_clock_getres, at({1})}, {SYS_clock_settime, at({1})}, {SYS_gettimeofday, at({0, 1})}, {SYS_time, at({0})},
    {SYS_getrandom, at({0})}, {SYS_accept, at({1, 2})}, {SYS_accept4, at({1, 2})}, {SYS_connect, at({1})},
    {SYS_bind, at({1})}, {SYS_getsockname, at({1, 2})}, {SYS_getpeername, at({1, 2})}, {SYS_socketpair, at({3})},
    {SYS_setsockopt, at({3})}, {SYS_getsockopt, at({3, 4})}, {SYS_recvmmsg, at({1, 4})}, {SYS_sendmmsg, at({1})},
    {SYS_chdir, at({0})}, {SYS_rename, at({0, 1})}, {SYS_renameat, at({1, 3})}, {SYS_renameat2, at({1, 3})},
    {SYS_mkdir, at({0})}, {SYS_mkdirat, at({1})}, {SYS_rmdir, at({0})}, {SYS_creat, at({0})}, {SYS_link, at({0, 1})},
    {SYS_linkat, at({1, 3})}, {SYS_unlink, at({0})}, {SYS_unlinkat, at({1})}, {SYS_symlink, at({0, 1})},
    {SYS_symlinkat, at({0, 2})}, {SYS_chmod, at({0})}, {SYS_fchmodat, at({1})}, {SYS_chown, at({0})},
    {SYS_lchown, at({0})}, {SYS_fchownat, at({1})}, {SYS_mknod, at({0})}, {SYS_mknodat, at({1})},
    {SYS_truncate, at({0})}, {SYS_utime, at({0, 1})}, {SYS_utimes, at({0, 1})}, {SYS_futimesat, at({1, 2})},
    {SYS_utimensat, at({1, 2})}, {SYS_statfs, at({0, 1})}, {SYS_fstatfs, at({1})}, {SYS_chroot, at({0})},
    {SYS_openat2, at({1, 2})}, {SYS_name_to_handle_at, at({1, 2, 3})}, {SYS_open_by_handle_at, at({1})},
    {SYS_setxattr, at({0, 1, 2})}, {SYS_lsetxattr, at({0, 1, 2})}, {SYS_fsetxattr, at({1, 2})},
    {SYS_getxattr, at({0, 1, 2})}, {SYS_lgetxattr, at({0, 1, 2})}, {SYS_fgetxattr, at({1, 2})},
    {SYS_listxattr, at({0, 1})}, {SYS_llistxattr, at({0, 1})}, {SYS_flistxattr, at({1})},
    {SYS_removexattr, at({0, 1})}, {SYS_lremovexattr, at({0, 1})}, {SYS_fremovexattr, at({1})},
    {SYS_inotify_add_watch, at({1})}, {SYS_memfd_create, at({0})}, {SYS_sendfile, at({2})}, {SYS_splice, at({1, 3})},
    {SYS_copy_file_range, at({1, 3})}, {SYS_vmsplice, at({1})}, {SYS_preadv, at({1})}, {SYS_pwritev, at({1})},
    {SYS_preadv2, at({1})}, {SYS_pwritev2, at({1})}, {SYS_process_vm_readv, at({1, 3})},
    {SYS_process_vm_writev, at({1, 3})}, {SYS_uname, at({0})}, {SYS_sysinfo, at({0})}, {SYS_times, at({0})},
    {SYS_getrusage, at({1})}, {SYS_getrlimit, at({1})}, {SYS_setrlimit, at({1})}, {SYS_prlimit64, at({2, 3})},
    {SYS_getgroups, at({1})}, {SYS_setgroups, at({1})}, {SYS_getresuid, at({0, 1, 2})},
    {SYS_getresgid, at({0, 1, 2})}, {SYS_getitimer, at({1})}, {SYS_setitimer, at({1, 2})},
    {SYS_timer_create, at({1, 2})}, {SYS_timer_settime, at({2, 3})}, {SYS_timer_gettime, at({1})},
    {SYS_timerfd_settime, at({2, 3})}, {SYS_timerfd_gettime, at({1})}, {SYS_signalfd, at({1})},
    {SYS_signalfd4, at({1})}, {SYS_rt_sigpending, at({0})}, {SYS_rt_sigtimedwait, at({0, 1, 2})},
    {SYS_rt_sigsuspend, at({0})}, {SYS_rt_sigqueueinfo, at({2})}, {SYS_rt_sigaction, at({1, 2})},
    {SYS_sigaltstack, at({0, 1})}, {SYS_sched_setaffinity, at({2})}, {SYS_sched_getaffinity, at({2})},
    {SYS_sched_setparam, at({1})}, {SYS_sched_getparam, at({1})}, {SYS_sched_setscheduler, at({2})},
    {SYS_sched_setattr, at({1})}, {SYS_sched_getattr, at({1})}, {SYS_prctl, at({1})}, {SYS_getcpu, at({0, 1})},
    {SYS_semop, at({1})}, {SYS_semtimedop, at({1, 3})}, {SYS_msgsnd, at({1})}, {SYS_msgrcv, at({1})},
    {SYS_mq_open, at({0, 3})}, {SYS_mq_timedsend, at({1, 4})}, {SYS_mq_timedreceive, at({1, 3, 4})},
    {SYS_io_setup, at({1})}, {SYS_io_submit, at({2})}, {SYS_io_getevents, at({3, 4})}, {SYS_io_uring_setup, at({1})},
    {SYS_syslog, at({1})}, {SYS_adjtimex, at({0})}, {SYS_clock_adjtime, at({1})}, {SYS_sethostname, at({0})},
    // clang-format on
};

// Where a call has a buffer, and how long it is (an argument's number, each).
struct Buffer {
  int call;
  int data;
  int bytes;
  Access access;
  bool in_pieces;  // it may be made piece by piece
  int offset;      // the argument with the place in the file, if it has one
};
constexpr Buffer kBuffers[] = {
    {SYS_read, 1, 2, Access::kWrite, true, -1},      {SYS_write, 1, 2, Access::kRead, true, -1},
    {SYS_pread64, 1, 2, Access::kWrite, true, 3},    {SYS_pwrite64, 1, 2, Access::kRead, true, 3},
    {SYS_recvfrom, 1, 2, Access::kWrite, false, -1}, {SYS_sendto, 1, 2, Access::kRead, true, -1},
    {SYS_getrandom, 0, 1, Access::kWrite, true, -1}, {SYS_getdents64, 1, 2, Access::kWrite, false, -1},
    {SYS_readlink, 1, 2, Access::kWrite, false, -1}, {SYS_readlinkat, 2, 3, Access::kWrite, false, -1},
    {SYS_getcwd, 0, 1, Access::kWrite, false, -1},
};
// What the kernel reads or writes behind a pointer that no length is known for: a name, a struct stat.
constexpr std::size_t kUnknownBytes = 512;
constexpr int kFromFilter = 1;  // si_code, SYS_SECCOMP in the kernel's headers

constinit struct sigaction program_action {};
constinit std::atomic<bool> handling{false};

void touch(std::uintptr_t address, Access access) {
  auto* const byte = reinterpret_cast<unsigned char*>(address);
  if (access == Access::kWrite) {
    asm volatile("lock orb $0, %0" : "+m"(*byte)::"memory");
  } else {
    asm volatile("" ::"r"(*static_cast<volatile unsigned char*>(byte)));
  }
}

constexpr std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

// The upper halves of the range's addresses, by which the filter knows them. Little more than the range is, which is
// large.
struct UpperHalves {
  explicit UpperHalves(const Geometry& geometry)
      : first(high(geometry.base)), last(high(geometry.base + geometry.memory_bytes() - 1)) {}
  std::uint32_t first, last;
};

bool is_trapped(std::uint64_t argument) {
  const UpperHalves halves(front_node()->geometry);
  return high(argument) >= halves.first && high(argument) <= halves.last;
}

unsigned pointers_of(long number) {
  const auto* const found =
      std::find_if(std::begin(kCalls), std::end(kCalls), [&](const Call& call) { return call.number == number; });
  return found == std::end(kCalls) ? 0 : found->pointers;
}

bool names_global(unsigned pointers, const Arguments& with) {
  for (std::size_t i = 0; i < with.size(); ++i) {
    if ((pointers >> i & 1) != 0 && is_trapped(with[i])) return true;
  }
  return false;
}

const Buffer* buffer_of(long number) {
  const auto* const found = std::find_if(std::begin(kBuffers), std::end(kBuffers),
                                         [&](const Buffer& buffer) { return buffer.call == number; });
  return found == std::end(kBuffers) ? nullptr : found;
}

bool acquire_all(long number, const Buffer* buffer, const Arguments& with) {
  const unsigned pointers = pointers_of(number);
  bool any = false;
  for (int i = 0; i < static_cast<int>(with.size()); ++i) {
    const auto argument = static_cast<std::size_t>(i);
    if ((pointers >> i & 1) == 0 || !is_trapped(with[argument])) continue;
    const bool known = buffer != nullptr && buffer->data == i;
    const std::size_t bytes =
        known ? std::min(with[static_cast<std::size_t>(buffer->bytes)], kMostAcquired) : kUnknownBytes;
    any |= acquire(reinterpret_cast<const void*>(with[argument]), bytes, known ? buffer->access : Access::kWrite);
  }
  return any;
}

long call_once(long number, const Buffer* buffer, const Arguments& with) {
  for (int tries = 1;; ++tries) {
    const bool any = acquire_all(number, buffer, with);
    const long result = call_directly(number, with);
    if (result != -EFAULT || !any || tries == kMostTries) return result;
  }
}

// A piece after the other. The kernel also ends a call short where it meets a missing page, so what is short is gone on
// with, unless that could wait for what nobody has: a pipe gives what it has.
long call_in_pieces(long number, const Buffer& buffer, Arguments with) {
  const auto given = [&](int argument) -> std::uint64_t& { return with[static_cast<std::size_t>(argument)]; };
  const std::uint64_t all = given(buffer.bytes);
  for (std::uint64_t done = 0;;) {
    given(buffer.bytes) = std::min<std::uint64_t>(all - done, kMostAcquired);
    const long result = call_once(number, &buffer, with);
    if (result <= 0) return done != 0 ? static_cast<long>(done) : result;
    const auto some = static_cast<std::uint64_t>(result);
    done += some;
    if (done == all ||
        (buffer.access == Access::kWrite && number != SYS_getrandom && !is_file(static_cast<int>(with[0])))) {
      return static_cast<long>(done);
    }
    given(buffer.data) += some;
    if (buffer.offset >= 0) given(buffer.offset) += some;
  }
}

long make_call(long number, const Arguments& with) {
  std::optional<long> taken = receive_with_stand_ins(number, with);
  if (!taken) taken = call_with_stand_ins(number, with);
  if (taken) return *taken;
  const Buffer* const buffer = buffer_of(number);
  const bool pieces =
      buffer != nullptr && buffer->in_pieces && is_trapped(with[static_cast<std::size_t>(buffer->data)]);
  return pieces ? call_in_pieces(number, *buffer, with) : call_once(number, buffer, with);
}

// A filter of the program's own, or a SIGSYS that somebody sent.
void hand_on(int signal, siginfo_t* info, void* context) {
  if ((program_action.sa_flags & SA_SIGINFO) != 0) return program_action.sa_sigaction(signal, info, context);
  if (program_action.sa_handler == SIG_IGN) return;
  if (program_action.sa_handler != SIG_DFL) return program_action.sa_handler(signal);
  struct sigaction by_default {};
  ::sigaction(signal, &by_default, nullptr);
  ::raise(signal);
}

void on_trap(int signal, siginfo_t* info, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto get = [&](int which) { return static_cast<std::uint64_t>(registers[which]); };
  const Arguments with{get(REG_RDI), get(REG_RSI), get(REG_RDX), get(REG_R10), get(REG_R8), get(REG_R9)};
  if (info->si_code != kFromFilter || !names_global(pointers_of(info->si_syscall), with)) {
    return hand_on(signal, info, context);
  }
  const int saved_errno = errno;
  registers[REG_RAX] = make_call(info->si_syscall, with);
  errno = saved_errno;
}

void handle_traps() {
  struct sigaction action {};
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  ::sigaction(SIGSYS, &action, &program_action);
  handling = true;
}

sock_filter load(std::size_t offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)); }
constexpr sock_filter kAllow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
constexpr sock_filter kTrap = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);

// Looks at the arguments that `pointers` has, by their upper halves.
void add_look(std::vector<sock_filter>& code, unsigned pointers, const UpperHalves& halves) {
  for (std::size_t argument = 0; argument < 6; ++argument) {
    if ((pointers >> argument & 1) == 0) continue;
    code.push_back(load(offsetof(seccomp_data, args) + argument * 8 + 4));
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, halves.first, 0, 2));
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, halves.last, 1, 0));
    code.push_back(kTrap);
  }
  code.push_back(kAllow);
}

std::vector<sock_filter> filter_for(const Geometry& geometry) {
  std::vector<sock_filter> code{load(offsetof(seccomp_data, arch)),
                                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0), kAllow};
  const auto own = direct_call_return();
  code.push_back(load(offsetof(seccomp_data, instruction_pointer) + 4));
  code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high(kGate), 0, 1));
  code.push_back(kAllow);  // nothing else lies within 4 GiB of the gate
  code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high(own), 0, 3));
  code.push_back(load(offsetof(seccomp_data, instruction_pointer)));
  code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(own), 0, 1));
  code.push_back(kAllow);
  code.push_back(load(offsetof(seccomp_data, nr)));
  std::vector<std::size_t> jumps;  // to the look that each call needs
  for (const Call& call : kCalls) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call.number), 0, 1));
    jumps.push_back(code.size());
    code.push_back(BPF_STMT(BPF_JMP | BPF_JA, 0));
  }
  code.push_back(kAllow);
  std::array<std::size_t, 64> looks{};  // by pointers: where the look is
  for (std::size_t i = 0; i < jumps.size(); ++i) {
    std::size_t& look = looks[kCalls[i].pointers];
    if (look == 0) {
      look = code.size();
      add_look(code, kCalls[i].pointers, UpperHalves(geometry));
    }
    code[jumps[i]].k = static_cast<std::uint32_t>(look - jumps[i] - 1);
  }
  return code;
}

Result<void> set_filter(const Geometry& geometry) {
  std::vector<sock_filter> code = filter_for(geometry);
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  const auto set = [&] { return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0; };
  if (set() || (errno == EACCES && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && set())) return {};
  return fail(Errc::kSystem, "the kernel allows no seccomp filter", errno);
}

}  // namespace

long call_with_pages(long number, const Arguments& with) { return call_once(number, nullptr, with); }

bool is_file(int descriptor) {
  struct stat status {};
  return call_directly(SYS_fstat, {static_cast<std::uint64_t>(descriptor), reinterpret_cast<std::uint64_t>(&status)}) ==
             0 &&
         (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode));
}

// Where there is no memory the call is to say so itself.
bool is_shared(std::uintptr_t address) {
  const runtime::Node& node = *front_node();
  if (!node.geometry.holds(address)) return false;
  const mem::ChunkState state = node.space->state(node.geometry.page_of(address));
  return state == mem::ChunkState::kSharing || state == mem::ChunkState::kShared;
}

bool acquire(const void* data, std::size_t bytes, Access access) {
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  if (bytes == 0 || begin + bytes < begin || runtime::in_forked_child()) return false;
  bool any = false;
  for (std::uintptr_t at = begin; at < begin + bytes; at = (at & ~(kPageBytes - 1)) + kPageBytes) {
    if (!is_shared(at)) continue;
    touch(at, access);
    any = true;
  }
  return any;
}

Result<void> trap_system_calls(const runtime::Node& node) {
  const bool older = has_older_filter(node.geometry);
  if (!older && !system_calls_need_care) return {};
  unblock_our_signals();
  if (auto reserved = reserve_stand_ins(); !reserved) return reserved;
  if (older) {
    if (auto opened = call_from_gate(); !opened) return opened;
  }
  handle_traps();
  return system_calls_need_care ? set_filter(node.geometry) : Result<void>();
}

bool traps_stand_before(int signal) { return signal == SIGSYS && handling.load(std::memory_order_relaxed); }

void set_trapped_action(const struct sigaction* action, struct sigaction* before) {
  const struct sigaction was = program_action;
  if (action != nullptr) program_action = *action;
  if (before != nullptr) *before = was;
}

}  // namespace dsm::preload
