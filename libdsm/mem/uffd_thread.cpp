// The engine "uffd-thread": the kernel suspends the faulting thread; the thread "dsm-fault" reads of it and asks the
// sink. A system call that is handed a missing page waits like any other access.
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <system_error>
#include <thread>

#include "base/allocation_gate.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/signals.h"
#include "mem/fault_signal.h"
#include "mem/give_up.h"
#include "mem/refused_pages.h"
#include "mem/uffd_engine.h"

namespace dsm::mem {
namespace {

// How long the handler looks again after a fault before it sleeps: waking it costs more than a fault does.
constexpr std::int64_t kSpinNs = 5'000;

// The refusal this thread met last. The same instruction meeting one again earns the signal; the first time it only
// tries again, since a refusal may be over, or another thread's.
struct Strike {
  greg_t instruction;
  std::uintptr_t address;
  std::optional<FaultVerdict> verdict;  // none: nobody has refused the page, so the program itself has closed it
};
__attribute__((tls_model("initial-exec"))) constinit thread_local Strike strike{};

class UffdThread final : public UffdEngine, private FaultReceiver {
 public:
  UffdThread(UffdParts parts, Userfault after_stop)
      : UffdEngine(std::move(parts), MoveAttendant::Duty::kDuringMoves), after_stop_(std::move(after_stop)) {}
  ~UffdThread() override { stop(); }

  const char* name() const override { return "uffd-thread"; }
  bool faults_inline() const override { return false; }
  bool system_calls_wait() const override { return !userfault().user_mode_only(); }

 private:
  Result<void> begin() override;
  void end() override;
  bool on_signal_sig(siginfo_t& info, ucontext_t& context) override;
  void handle_loop();
  bool wait_for_message();
  void on_page_fault(const uffd_msg& message);
  void hand_over();

  std::thread handler_;
  int stop_fd_ = -1;
  Userfault after_stop_;
  RefusedPages refused_;
};

Result<void> UffdThread::begin() {
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  if (stop_fd_ < 0) return fail(Errc::kSystem, "cannot create an eventfd", errno);
  if (auto taken = take_signal(SIGSEGV, *this); !taken) return taken;
  try {
    const SignalsBlocked blocked;  // inherited by the thread: no handler of the program runs there
    handler_ = std::thread([this] { handle_loop(); });
  } catch (const std::system_error& error) {
    give_back_signal(SIGSEGV);
    return fail(Errc::kSystem, "cannot start the fault handler thread", error.code().value());
  }
  pthread_setname_np(handler_.native_handle(), "dsm-fault");
  return {};
}

void UffdThread::end() {
  const std::uint64_t one = 1;
  DSM_CHECK(write(stop_fd_, &one, sizeof one) == sizeof one, "writing an eventfd: errno {}", errno);
  handler_.join();
  close(stop_fd_);
  hand_over();
  give_back_signal(SIGSEGV);
}

// Thread "dsm-fault".
void UffdThread::handle_loop() {
  const OwnAllocations own;
  uffd_msg buffer[16];
  std::int64_t spin_until = 0;
  while (true) {
    const auto messages = userfault().read(buffer);
    for (const uffd_msg& message : messages) {
      if (message.event == UFFD_EVENT_PAGEFAULT) on_page_fault(message);  // any other need only be read
    }
    if (!messages.empty()) {
      spin_until = now_ns() + kSpinNs;
    } else if (now_ns() < spin_until) {
      cpu_relax();
    } else if (!wait_for_message()) {
      return;
    }
  }
}

// False: the thread is to end.
bool UffdThread::wait_for_message() {
  pollfd watched[] = {{userfault().fd(), POLLIN, 0}, {stop_fd_, POLLIN, 0}};
  while (poll(watched, 2, -1) < 0) DSM_CHECK(errno == EINTR, "poll: errno {}", errno);
  return watched[1].revents == 0;
}

void UffdThread::on_page_fault(const uffd_msg& message) {
  const auto& fault = message.arg.pagefault;
  const std::uintptr_t page = fault.address & ~(kPageBytes - 1);
  const bool write = (fault.flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0;
  const auto verdict = geometry().holds(fault.address)
                           ? sink().on_fault({fault.address, write ? Access::kWrite : Access::kRead,
                                              static_cast<pid_t>(fault.feat.ptid)})
                           : FaultVerdict::kNotOurs;  // a piece of the view that the program moved elsewhere
  if (verdict == FaultVerdict::kPending) return;
  if (verdict == FaultVerdict::kLost) report_lost_sig(geometry(), fault.address);
  if (verdict != FaultVerdict::kRetry) refused_.refuse(page, verdict);
  release_waiters(page, kPageBytes);
}

// In the faulting thread: a touch of a refused page, or a fault that is the program's own.
bool UffdThread::on_signal_sig(siginfo_t& info, ucontext_t& context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  if (!attached().contains(address) || instruction_fetch(context)) return false;
  const auto verdict = refused_.take_back_sig(address & ~(kPageBytes - 1));
  const greg_t instruction = context.uc_mcontext.gregs[REG_RIP];
  if (strike.instruction != instruction || strike.address != address) {
    strike = {instruction, address, verdict};
    return true;
  }
  const auto final_verdict = verdict ? verdict : strike.verdict;
  strike = {};
  if (!final_verdict) return false;
  const bool lost = *final_verdict == FaultVerdict::kLost;
  raise_in_program_sig(lost ? SIGBUS : SIGSEGV, address, context);
  return true;
}

// Nobody answers messages any more, so from now on a fault is a plain SIGBUS: the ranges go over to a userfaultfd that
// gives one. Inaccessible meanwhile, so that no access slips through.
void UffdThread::hand_over() {
  attached().for_each_run([this](std::uintptr_t address, std::size_t bytes) {
    void* const run = reinterpret_cast<void*>(address);
    if (mprotect(run, bytes, PROT_NONE) != 0) give_up_sig("close the application view", address, errno);
    if (const int error = userfault().unregister(address, bytes); error != 0) {
      give_up_sig("release the application view", address, error);
    }
    if (const int error = after_stop_.register_shared(address, bytes); error != 0) {
      give_up_sig("guard the application view", address, error);
    }
    if (mprotect(run, bytes, PROT_READ | PROT_WRITE) != 0) give_up_sig("open the application view", address, errno);
    release_waiters(address, bytes);
  });
}

}  // namespace

Result<std::unique_ptr<FaultEngine>> make_uffd_thread(const Geometry& geometry, std::byte* service) {
  auto parts = make_uffd_parts(geometry, service, FaultRoute::kMessages);
  if (!parts) return tl::unexpected(parts.error());
  if (parts->userfault.user_mode_only()) {
    log(LogLevel::kWarn, "mem",
        "engine uffd-thread: this user may not handle faults of the kernel: system calls on missing pages give EFAULT");
  }
  auto after_stop = Userfault::open(FaultRoute::kSignal);
  if (!after_stop) return tl::unexpected(after_stop.error());
  return std::make_unique<UffdThread>(std::move(*parts), std::move(*after_stop));
}

}  // namespace dsm::mem
