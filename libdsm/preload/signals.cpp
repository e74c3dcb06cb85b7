// The program's own signal actions and masks, where the fault engine's handler stands in front of them: it sees and
// sets its own, as if the engine were not there (mem/fault_signal.h hands it what is not the engine's).
//
// 1. The kernel's action of such a signal is the engine's handler, or the traps' (traps.h), at all times.
// 2. Its kernel mask never has the signals of an engine that resolves in the faulting thread; the program is told that
//    they are blocked, if it has blocked them. (A fault that is its own reaches its handler all the same: the kernel
//    would have killed it.)
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "mem/fault_engine.h"
#include "mem/fault_signal.h"
#include "preload/front.h"
#include "preload/next.h"
#include "preload/traps.h"
#include "runtime/node.h"

extern "C" int __sigaction(int signal, const struct sigaction* action, struct sigaction* before) noexcept;

// What the runtime's own code means by these names (--wrap in CMakeLists.txt).
extern "C" int __wrap_sigaction(int signal, const struct sigaction* action, struct sigaction* before) {
  return __sigaction(signal, action, before);
}

namespace {

constexpr std::size_t kKernelMaskBytes = 8;

int set_kernel_mask(int how, const sigset_t* set, sigset_t* before) {
  sigset_t checked;
  if (set != nullptr) {
    checked = *set;
    // libc's own two, which nobody may block.
    const auto internal = (std::uint64_t{1} << 31) | (std::uint64_t{1} << 32);
    checked.__val[0] &= ~internal;
  }
  const long failed = ::syscall(SYS_rt_sigprocmask, how, set != nullptr ? &checked : nullptr, before, kKernelMaskBytes);
  return failed == 0 ? 0 : errno;
}

}  // namespace

extern "C" int __wrap_pthread_sigmask(int how, const sigset_t* set, sigset_t* before) {
  const int saved_errno = errno;
  if (before != nullptr) sigemptyset(before);
  const int error = set_kernel_mask(how, set, before);
  errno = saved_errno;
  return error;
}

namespace dsm::preload {
namespace {

using Handler = void (*)(int);

// What carries our faults, or our traps.
constexpr int kOurSignals[] = {SIGSEGV, SIGBUS, SIGSYS};

// Those that the program believes it has blocked in this thread.
constinit thread_local sigset_t seen_blocked{};

void put(sigset_t& set, int signal, bool in) { in ? sigaddset(&set, signal) : sigdelset(&set, signal); }

// pthread_sigmask for a program that must not block what is ours. (With an inline engine there are traps, too.)
int set_mask(int how, const sigset_t* set, sigset_t* before) {
  if (!traps_stand_before(SIGSYS)) return __wrap_pthread_sigmask(how, set, before);
  sigset_t wanted{};
  sigset_t seen = seen_blocked;
  if (set != nullptr) {
    wanted = *set;
    for (const int signal : kOurSignals) {
      const bool named = sigismember(set, signal) == 1;
      if (how == SIG_SETMASK || named) put(seen, signal, how != SIG_UNBLOCK && named);
      if (how != SIG_UNBLOCK) sigdelset(&wanted, signal);
    }
  }
  const int error = __wrap_pthread_sigmask(how, set != nullptr ? &wanted : nullptr, before);
  if (error != 0) return error;
  if (before != nullptr) {
    for (const int signal : kOurSignals) {
      if (sigismember(&seen_blocked, signal) == 1) sigaddset(before, signal);
    }
  }
  seen_blocked = seen;
  return 0;
}

}  // namespace

void unblock_our_signals() {
  sigset_t ours{};
  sigset_t before{};
  for (const int signal : kOurSignals) sigaddset(&ours, signal);
  __wrap_pthread_sigmask(SIG_UNBLOCK, &ours, &before);
  for (const int signal : kOurSignals) put(seen_blocked, signal, sigismember(&before, signal) == 1);
}

namespace {

bool stands_before(int signal) { return mem::stands_before_program(signal) || traps_stand_before(signal); }

bool set_program_action(int signal, const struct sigaction* action, struct sigaction* before) {
  if (!traps_stand_before(signal)) return mem::set_program_action(signal, action, before);
  set_trapped_action(action, before);
  return true;
}

int set_action(int signal, const struct sigaction* action, struct sigaction* before) {
  if (set_program_action(signal, action, before)) return 0;
  return __sigaction(signal, action, before);
}

// signal(2) in its kinds, for a signal that ours stands in front of.
Handler set_handler(int signal, Handler handler, int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  struct sigaction before {};
  return set_program_action(signal, &action, &before) ? before.sa_handler : SIG_ERR;
}

constexpr int kOneShot = static_cast<int>(SA_RESETHAND) | SA_NODEFER;

}  // namespace

DSM_INTERPOSED int sigaction(int signal, const struct sigaction* action, struct sigaction* before) noexcept {
  return set_action(signal, action, before);
}

DSM_INTERPOSED Handler signal(int number, Handler handler) noexcept {
  if (stands_before(number)) return set_handler(number, handler, SA_RESTART);
  return next<"signal", Handler(int, Handler)>()(number, handler);
}

DSM_INTERPOSED Handler ssignal(int number, Handler handler) noexcept { return signal(number, handler); }
DSM_INTERPOSED Handler bsd_signal(int number, Handler handler) noexcept { return signal(number, handler); }

DSM_INTERPOSED Handler __sysv_signal(int number, Handler handler) noexcept {
  if (stands_before(number)) return set_handler(number, handler, kOneShot);
  return next<"__sysv_signal", Handler(int, Handler)>()(number, handler);
}

DSM_INTERPOSED Handler sysv_signal(int number, Handler handler) noexcept { return __sysv_signal(number, handler); }

DSM_INTERPOSED Handler sigset(int number, Handler handler) noexcept {
  if (!stands_before(number)) return next<"sigset", Handler(int, Handler)>()(number, handler);
  sigset_t one;
  sigset_t before;
  sigemptyset(&one);
  sigaddset(&one, number);
  const bool hold = handler == SIG_HOLD;
  set_mask(hold ? SIG_BLOCK : SIG_UNBLOCK, &one, &before);
  struct sigaction action {};
  set_program_action(number, nullptr, &action);
  if (!hold) set_handler(number, handler, 0);
  return sigismember(&before, number) == 1 ? SIG_HOLD : action.sa_handler;
}

DSM_INTERPOSED int sigignore(int number) noexcept {
  if (!stands_before(number)) return next<"sigignore", int(int)>()(number);
  return set_handler(number, SIG_IGN, 0) == SIG_ERR ? -1 : 0;
}

DSM_INTERPOSED int pthread_sigmask(int how, const sigset_t* set, sigset_t* before) noexcept {
  return set_mask(how, set, before);
}

DSM_INTERPOSED int sigprocmask(int how, const sigset_t* set, sigset_t* before) noexcept {
  const int error = set_mask(how, set, before);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

// The kernel builds a signal's frame where it finds no page that has to be fetched first: a stack of the global heap
// has a shadow of ordinary memory, which the handlers use instead. It goes when the thread names another stack.
DSM_INTERPOSED int sigaltstack(const stack_t* wanted, stack_t* before) noexcept {
  struct Shadow {
    void* memory = nullptr;
    stack_t asked{};
  };
  static constinit thread_local Shadow mine{};
  const auto real = next<"sigaltstack", int(const stack_t*, stack_t*)>();
  const bool replace = wanted != nullptr && (wanted->ss_flags & SS_DISABLE) == 0 && traps_stand_before(SIGSYS) &&
                       is_shared(reinterpret_cast<std::uintptr_t>(wanted->ss_sp));
  Shadow shadow;
  stack_t given = wanted != nullptr ? *wanted : stack_t{};
  if (replace) {
    shadow.asked = given;
    given.ss_sp = ::mmap(nullptr, given.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (given.ss_sp == MAP_FAILED) return -1;
    shadow.memory = given.ss_sp;
  }
  stack_t was{};
  const int result = real(wanted != nullptr ? &given : nullptr, &was);
  if (result == 0 && before != nullptr) {
    *before = was;
    if (mine.memory != nullptr && was.ss_sp == mine.memory) before->ss_sp = mine.asked.ss_sp;
  }
  if (result == 0 && wanted != nullptr) std::swap(shadow, mine);
  if (shadow.memory != nullptr) ::munmap(shadow.memory, shadow.asked.ss_size);
  return result;
}

}  // namespace dsm::preload
