// The engine "uffd-inline": a fault is a SIGBUS in the faulting thread (UFFD_FEATURE_SIGBUS), and the sink runs there,
// in signal context.
#include "mem/fault_signal.h"
#include "mem/uffd_engine.h"

namespace dsm::mem {
namespace {

class UffdInline final : public UffdEngine, private FaultReceiver {
 public:
  explicit UffdInline(UffdParts parts) : UffdEngine(std::move(parts), MoveAttendant::Duty::kAlways) {}
  ~UffdInline() override { stop(); }

  const char* name() const override { return "uffd-inline"; }
  bool faults_inline() const override { return true; }

 private:
  Result<void> begin() override {
    for (const int signal : {SIGBUS, SIGSEGV}) {  // SIGSEGV: only in forked children (fault_signal.h)
      if (auto taken = take_signal(signal, *this); !taken) return taken;
    }
    return {};
  }
  void end() override {
    give_back_signal(SIGSEGV);
    give_back_signal(SIGBUS);
  }

  bool on_signal_sig(siginfo_t& info, ucontext_t& context) override {
    const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
    if (info.si_signo != SIGBUS || info.si_code != BUS_ADRERR || !geometry().holds(address)) return false;
    answer_fault_sig(sink(), geometry(), info, context);
    return true;
  }
};

}  // namespace

Result<std::unique_ptr<FaultEngine>> make_uffd_inline(const Geometry& geometry, std::byte* service) {
  auto parts = make_uffd_parts(geometry, service, FaultRoute::kSignal);
  if (!parts) return tl::unexpected(parts.error());
  return std::make_unique<UffdInline>(std::move(*parts));
}

}  // namespace dsm::mem
