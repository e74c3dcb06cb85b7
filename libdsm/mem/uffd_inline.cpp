// The engine "uffd-inline": a fault is a SIGBUS in the faulting thread (UFFD_FEATURE_SIGBUS), and the sink runs there,
// in signal context. The reader thread of the base class sees no page faults, only moved mappings.
#include "base/check.h"
#include "mem/fault_signal.h"
#include "mem/uffd_engine.h"

namespace dsm::mem {
namespace {

class UffdInline final : public UffdEngine, private FaultReceiver {
 public:
  explicit UffdInline(Parts parts) : UffdEngine(std::move(parts)) {}
  ~UffdInline() override { stop(); }

  const char* name() const override { return "uffd-inline"; }
  bool faults_inline() const override { return true; }

 private:
  Result<void> begin() override { return take_signal(SIGBUS, *this); }
  void end() override { give_back_signal(SIGBUS); }
  void on_page_fault(const uffd_msg& message) override {
    DSM_CHECK(false, "a fault message for {:#x}, with faults as signals", message.arg.pagefault.address);
  }

  bool on_signal_sig(siginfo_t& info, ucontext_t& context) override {
    const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
    if (info.si_code != BUS_ADRERR || !geometry().holds(address)) return false;
    answer_fault_sig(sink(), geometry(), info, context);
    return true;
  }
};

}  // namespace

Result<std::unique_ptr<FaultEngine>> make_uffd_inline(const Geometry& geometry, std::byte* service) {
  auto parts = UffdEngine::make_parts(geometry, service, FaultRoute::kSignal);
  if (!parts) return tl::unexpected(parts.error());
  return std::make_unique<UffdInline>(std::move(*parts));
}

}  // namespace dsm::mem
