#include "mem/fault_signal.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>

#include "base/check.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/signals.h"
#include "mem/emulated_access.h"

namespace dsm::mem {
namespace {

constexpr greg_t kErrorWrite = 1 << 1;  // bits of the x86 page fault error code
constexpr greg_t kErrorFetch = 1 << 4;
constexpr std::size_t kKernelMaskBytes = 8;  // what the kernel writes of uc_sigmask; glibc's type is larger

struct Hook {
  std::atomic<FaultReceiver*> receiver{nullptr};
  FutexLock lock;             // of the next
  struct sigaction previous;  // the program's own; valid from the first take_signal on
  std::atomic<bool> installed{false};
};
Hook hooks[2];  // for ever: a program's handler may have saved ours as "the previous one"

__attribute__((tls_model("initial-exec"))) constinit thread_local bool in_signal = false;

// What a thread is asked to do by a SIGSEGV with this variable's address as its value.
constinit std::atomic<void (*)()> visitor{nullptr};

// A word that a forked child finds zero: the kernel wipes its page at fork.
std::atomic<int>* home_process = nullptr;

// The global range, and what a forked child does about it.
struct {
  std::uintptr_t base;
  std::size_t bytes;
  bool (*adopt)();
} constinit not_inherited{};

bool is_hooked(int signal) { return signal == SIGSEGV || signal == SIGBUS; }

Hook& hook_of(int signal) {
  DSM_CHECK(is_hooked(signal), "signal {}", signal);
  return hooks[signal == SIGBUS ? 1 : 0];
}

Result<void> mark_home_process() {
  if (home_process == nullptr) {
    void* page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return fail(Errc::kNoMemory, "cannot allocate the fault handler's page", errno);
    if (madvise(page, kPageBytes, MADV_WIPEONFORK) != 0) {
      const int error = errno;
      munmap(page, kPageBytes);
      return fail(Errc::kNoSupport, "this kernel lacks MADV_WIPEONFORK (Linux 4.14)", error);
    }
    home_process = new (page) std::atomic<int>;
  }
  home_process->store(1, std::memory_order_relaxed);  // also in a forked child that starts an engine of its own
  return {};
}

bool is_default(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) == 0 && (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN);
}

// The kernel does not let a fault be ignored either: SIG_IGN dies too.
[[noreturn]] void die_by(int signal, siginfo_t& info) {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, signal);
  syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), signal, &info);
  pthread_sigmask(SIG_UNBLOCK, &mask, nullptr);
  _exit(128 + signal);  // the first process of a PID namespace survives a default action that it sends itself
}

void call_handler(const struct sigaction& action, int signal, siginfo_t& info, ucontext_t& context) {
  sigset_t mask;
  sigemptyset(&mask);
  std::memcpy(&mask, &context.uc_sigmask, kKernelMaskBytes);
  sigorset(&mask, &mask, &action.sa_mask);
  if ((action.sa_flags & SA_NODEFER) == 0) sigaddset(&mask, signal);
  in_signal = false;  // the handler may leave with siglongjmp
  sigset_t all;
  pthread_sigmask(SIG_SETMASK, &mask, &all);
  if ((action.sa_flags & SA_SIGINFO) != 0) {
    action.sa_sigaction(signal, &info, &context);
  } else {
    action.sa_handler(signal);
  }
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

// To the program's own handler, the one that ours stands in front of, or to the default action.
void deliver(int signal, siginfo_t& info, ucontext_t& context) {
  Hook& hook = hook_of(signal);
  struct sigaction action {};
  const bool ours_in_front = hook.installed.load();
  if (!ours_in_front || !set_program_action(signal, nullptr, &action)) sigaction(signal, nullptr, &action);
  const bool sent = info.si_code <= 0;  // by kill() and its kin: that can be ignored
  if (sent && (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_IGN) return;
  if (is_default(action)) die_by(signal, info);
  if ((static_cast<unsigned>(action.sa_flags) & static_cast<unsigned>(SA_RESETHAND)) != 0) {
    struct sigaction reset {};
    reset.sa_handler = SIG_DFL;
    if (!ours_in_front || !set_program_action(signal, &reset, nullptr)) sigaction(signal, &reset, nullptr);
  }
  call_handler(action, signal, info, context);
}

bool is_visit(const siginfo_t& info) {
  return info.si_code == SI_QUEUE && info.si_value.sival_ptr == &visitor && info.si_pid == ::getpid();
}

// In a forked child, which may have something there from now on. si_code > 0: the kernel's own, for an access of this
// thread; kill() and its kin are not ours.
bool adopted(const siginfo_t& info) {
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  if (info.si_code <= 0 || address - not_inherited.base >= not_inherited.bytes) return false;
  if (not_inherited.adopt()) return true;
  log(LogLevel::kError, "fork",
      "address {:#x} is memory that the job's nodes share, and a forked child has none of it; process {} ends", address,
      getpid());
  return false;
}

void on_signal(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  if (is_visit(*info)) {
    if (auto* const visit = visitor.exchange(nullptr)) visit();
    errno = saved_errno;
    return;
  }
  Hook& hook = hook_of(signal);
  auto& registers = *static_cast<ucontext_t*>(context);
  FaultReceiver* receiver = hook.receiver.load(std::memory_order_acquire);
  in_signal = true;
  const bool inherited = home_process->load(std::memory_order_relaxed) == 0;
  const bool done = (inherited && adopted(*info)) || (receiver != nullptr && !inherited && info->si_code > 0 &&
                                                      receiver->on_signal_sig(*info, registers));
  if (!done) deliver(signal, *info, registers);
  in_signal = false;
  errno = saved_errno;
}

}  // namespace

bool stands_before_program(int signal) { return is_hooked(signal) && hook_of(signal).installed.load(); }

bool set_program_action(int signal, const struct sigaction* action, struct sigaction* before) {
  if (!stands_before_program(signal)) return false;
  Hook& hook = hook_of(signal);
  std::optional<SignalsBlocked> blocked;
  if (!in_signal) blocked.emplace();
  const std::lock_guard guard(hook.lock);
  const struct sigaction wanted = action != nullptr ? *action : hook.previous;  // they may be one object
  if (before != nullptr) *before = hook.previous;
  hook.previous = wanted;
  return true;
}

void prepare_forked_child(std::uintptr_t base, std::size_t bytes, bool (*adopt)()) {
  not_inherited = {base, bytes, adopt};
}

namespace {

Result<void> install(int signal) {
  Hook& hook = hook_of(signal);
  if (hook.installed.load()) return {};  // the program's handler came after ours: it still calls us
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  // All, libc's own too, which sigfillset leaves out: pthread_cancel's would unwind the runtime with its locks.
  std::memset(&action.sa_mask, 0xff, sizeof action.sa_mask);
  if (sigaction(signal, nullptr, &hook.previous) != 0 || sigaction(signal, &action, nullptr) != 0) {
    return fail(Errc::kSystem, "cannot install the fault handler", errno);
  }
  hook.installed.store(true);
  return {};
}

bool ours_is_installed(int signal) {
  struct sigaction now {};
  return sigaction(signal, nullptr, &now) == 0 && now.sa_sigaction == on_signal;
}

void uninstall(int signal) {
  if (!ours_is_installed(signal)) return;
  Hook& hook = hook_of(signal);
  sigaction(signal, &hook.previous, nullptr);
  hook.installed.store(false);
}

}  // namespace

Result<void> take_signal(int signal, FaultReceiver& receiver) {
  if (auto marked = mark_home_process(); !marked) return marked;
  prepare_emulation();
  Hook& hook = hook_of(signal);
  FaultReceiver* none = nullptr;
  DSM_CHECK(hook.receiver.compare_exchange_strong(none, &receiver), "two fault engines run in one process");
  auto installed = install(signal);
  if (!installed) hook.receiver.store(nullptr);
  return installed;
}

void give_back_signal(int signal) {
  hook_of(signal).receiver.store(nullptr, std::memory_order_release);
  uninstall(signal);
}

void raise_in_program_sig(int signal, std::uintptr_t address, ucontext_t& context) {
  siginfo_t info{};
  info.si_signo = signal;
  info.si_code = signal == SIGBUS ? static_cast<int>(BUS_ADRERR) : static_cast<int>(SEGV_MAPERR);
  info.si_addr = reinterpret_cast<void*>(address);
  deliver(signal, info, context);
}

bool in_fault_signal() { return in_signal; }

Access wanted_access(const ucontext_t& context) {
  return (context.uc_mcontext.gregs[REG_ERR] & kErrorWrite) != 0 ? Access::kWrite : Access::kRead;
}

bool instruction_fetch(const ucontext_t& context) { return (context.uc_mcontext.gregs[REG_ERR] & kErrorFetch) != 0; }

void answer_fault_sig(FaultSink& sink, const Geometry& geometry, const siginfo_t& info, ucontext_t& context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  siginfo_t as_told = info;
  // Code in the global range would be read through the program's view.
  const bool plain = !geometry.holds(static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RIP]));
  switch (sink.on_fault({address, wanted_access(context), current_tid(), plain ? &context : nullptr})) {
    case FaultVerdict::kRetry:
      return;
    case FaultVerdict::kPending:
      break;
    case FaultVerdict::kNotOurs:
      if (info.si_signo != SIGSEGV) return raise_in_program_sig(SIGSEGV, address, context);
      return deliver(SIGSEGV, as_told, context);
    case FaultVerdict::kLost:
      report_lost_sig(geometry, address);
      return raise_in_program_sig(SIGBUS, address, context);
  }
  DSM_CHECK(false, "kPending for the fault at {:#x}, which is resolved in the faulting thread", address);
}

bool visit_suspended(pid_t tid, void (*visit)()) {
  if (!stands_before_program(SIGSEGV)) return false;
  siginfo_t info{};
  info.si_signo = SIGSEGV;
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_value.sival_ptr = &visitor;
  visitor.store(visit);
  return syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, SIGSEGV, &info) == 0;
}

void report_lost_sig(const Geometry& geometry, std::uintptr_t address) {
  log(LogLevel::kError, "mem", "address {:#x} (homed at node {}) cannot be had any more: the program gets SIGBUS",
      address, geometry.home(geometry.page_of(address)));
}

}  // namespace dsm::mem
