// The engine "sigsegv": page permissions by mprotect, faults by SIGSEGV in the faulting thread.
//
// 1. allowed_[page] is what map, raise, lower and unmap asked for; the kernel never allows more, and may allow less.
// 2. lock_ is held for every change of both; with it held, the kernel's permission of a page can be set to allowed_.
// 3. The kernel allows vm.max_map_count memory areas, and pages with unlike neighbours cost one each. At the limit the
//    engine takes the access of everything away (one area) and lets faults bring it back by (2): slow, never wrong.
#pragma once

#include <atomic>
#include <memory>

#include "base/futex.h"
#include "mem/chunk_set.h"
#include "mem/fault_engine.h"
#include "mem/fault_signal.h"

namespace dsm::mem {

class SigsegvEngine final : public FaultEngine, private FaultReceiver {
 public:
  static std::string obstacle();
  static Result<std::unique_ptr<FaultEngine>> make(const Geometry& geometry, std::byte* service);
  ~SigsegvEngine() override;

  const char* name() const override { return "sigsegv"; }
  bool faults_inline() const override { return true; }
  Result<void> start(FaultSink& sink) override;
  void stop() override;
  Result<void> attach(std::uintptr_t address, std::size_t bytes) override;

  void map(PageRange pages, Access access) override { set(pages, access); }
  void bring(PageRange pages, const std::byte* bytes, Access access) override;
  void raise(PageRange pages) override { set(pages, Access::kWrite); }
  void lower(PageRange pages) override { set(pages, Access::kRead); }
  void unmap(PageRange pages) override { set(pages, Access::kNone); }
  void unmap_all(std::span<const PageRange> ranges) override {
    for (const PageRange& range : ranges) unmap(range);
  }

  Result<void> seal_private(std::uintptr_t chunk, std::byte* moved_to) override;
  Result<void> replace_sealed(std::uintptr_t chunk, int memory_fd, std::uint64_t offset) override;
  void release_waiters(std::uintptr_t, std::size_t) override {}

 private:
  using Allowed = std::atomic<std::uint8_t>;

  SigsegvEngine(const Geometry& geometry, std::byte* service, ChunkSet attached, Allowed* allowed)
      : geometry_(geometry), service_(service), attached_(std::move(attached)), allowed_(allowed) {}

  bool on_signal_sig(siginfo_t& info, ucontext_t& context) override;
  bool allows(PageId page, Access wanted) const;
  void set(PageRange pages, Access access);
  void restore_sig(PageId page);
  void apply(PageRange pages, Access access);
  void take_everything_away();

  Geometry geometry_;
  std::byte* service_;
  ChunkSet attached_;
  FutexLock lock_;
  Allowed* allowed_;  // one a page of the global range, in memory that costs nothing until used
  FaultSink* sink_ = nullptr;
  bool running_ = false;
  bool warned_ = false;  // guarded by lock_
};

}  // namespace dsm::mem
