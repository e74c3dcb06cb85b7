#include "mem/sigsegv_engine.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/sparse.h"
#include "mem/give_up.h"
#include "mem/private_chunk.h"
#include "mem/shared_view.h"

namespace dsm::mem {
namespace {

int protection_of(Access access) {
  switch (access) {
    case Access::kNone:
    case Access::kObject:
      return PROT_NONE;
    case Access::kRead:
      return PROT_READ;
    case Access::kWrite:
      return PROT_READ | PROT_WRITE;
  }
  DSM_CHECK(false, "access {}", static_cast<int>(access));
}

// The lock with signals blocked: the program's handlers may fault. In a fault they are blocked already.
class Held {
 public:
  explicit Held(FutexLock& lock) : lock_(lock) {
    if (!in_fault_signal()) blocked_.emplace();
    lock_.lock();
  }
  ~Held() { lock_.unlock(); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  FutexLock& lock_;
  std::optional<SignalsBlocked> blocked_;
};

}  // namespace

std::string SigsegvEngine::obstacle() {
  constexpr std::size_t kBytes = 2 * kPageBytes;
  void* pages = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return fmt::format("memory cannot be mapped: {}", strerrordesc_np(errno));
  void* second = static_cast<std::byte*>(pages) + kPageBytes;
  void* moved = mremap(pages, kPageBytes, kPageBytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, second);
  munmap(pages, kBytes);
  return moved == MAP_FAILED ? "this kernel cannot move the pages of a mapping and keep it (Linux 5.7)" : "";
}

Result<std::unique_ptr<FaultEngine>> SigsegvEngine::make(const Geometry& geometry, std::byte* service) {
  auto attached = ChunkSet::make(geometry);
  if (!attached) return tl::unexpected(attached.error());
  void* table = map_sparse_bytes(geometry.memory_pages());
  if (table == nullptr) return fail(Errc::kNoMemory, "cannot allocate the table of page permissions", errno);
  return std::unique_ptr<FaultEngine>(
      new SigsegvEngine(geometry, service, std::move(*attached), static_cast<Allowed*>(table)));
}

SigsegvEngine::~SigsegvEngine() {
  stop();
  munmap(allowed_, geometry_.memory_pages());
}

Result<void> SigsegvEngine::start(FaultSink& sink) {
  DSM_CHECK(sink_ == nullptr, "start() a second time");
  sink_ = &sink;
  if (auto taken = take_signal(SIGSEGV, *this); !taken) return taken;
  running_ = true;
  return {};
}

void SigsegvEngine::stop() {
  if (!std::exchange(running_, false)) return;
  give_back_signal(SIGSEGV);
}

Result<void> SigsegvEngine::attach(std::uintptr_t address, std::size_t bytes) {
  attached_.add(address, bytes);
  return {};
}

bool SigsegvEngine::on_signal_sig(siginfo_t& info, ucontext_t& context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  if (info.si_code != SEGV_ACCERR || !geometry_.holds(address) || instruction_fetch(context)) return false;
  const PageId page = geometry_.page_of(address);
  if (allows(page, wanted_access(context))) {
    restore_sig(page);
  } else {
    answer_fault_sig(*sink_, geometry_, info, context);
  }
  return true;
}

bool SigsegvEngine::allows(PageId page, Access wanted) const {
  return allowed_[page].load(std::memory_order_relaxed) >= static_cast<std::uint8_t>(wanted);
}

void SigsegvEngine::set(PageRange pages, Access access) {
  const Held held(lock_);
  for (PageId page = pages.first; page < pages.end(); ++page) {
    allowed_[page].store(static_cast<std::uint8_t>(access), std::memory_order_relaxed);
  }
  apply(pages, access);
}

void SigsegvEngine::bring(PageRange pages, const std::byte* bytes, Access access) {
  std::memcpy(service_ + (pages.first << kPageShift), bytes, std::size_t{pages.count} * kPageBytes);
  set(pages, access);
}

void SigsegvEngine::restore_sig(PageId page) {
  const Held held(lock_);
  apply({page, 1}, static_cast<Access>(allowed_[page].load(std::memory_order_relaxed)));
}

void SigsegvEngine::apply(PageRange pages, Access access) {
  const std::uintptr_t address = geometry_.address_of(pages.first);
  void* const at = reinterpret_cast<void*>(address);
  const std::size_t bytes = std::size_t{pages.count} * kPageBytes;
  if (mprotect(at, bytes, protection_of(access)) == 0) return;
  if (errno == ENOMEM) {
    take_everything_away();
    if (mprotect(at, bytes, protection_of(access)) == 0) return;
  }
  give_up_sig("change the access to a page", address, errno);
}

void SigsegvEngine::take_everything_away() {
  if (!std::exchange(warned_, true)) {
    log(LogLevel::kWarn, "mem",
        "engine sigsegv: the pages in use need more memory areas than vm.max_map_count allows; all access is dropped "
        "and faulted in again, which is slow. Raise it (sysctl -w vm.max_map_count=1048576) or use "
        "DSM_ENGINE=uffd-inline");
  }
  attached_.for_each_run([](std::uintptr_t address, std::size_t bytes) {
    if (mprotect(reinterpret_cast<void*>(address), bytes, PROT_NONE) != 0) {
      give_up_sig("drop the access to shared memory", address, errno);
    }
  });
}

Result<void> SigsegvEngine::seal_private(std::uintptr_t chunk, std::byte* moved_to) {
  if (!running_) return fail(Errc::kNotStarted, "the fault engine is not running");
  if (mprotect(reinterpret_cast<void*>(chunk), kChunkBytes, PROT_NONE) != 0) {
    return fail(Errc::kNoMemory, "cannot close a private chunk (is vm.max_map_count too low?)", errno);
  }
  if (auto moved = move_pages(chunk, moved_to, kChunkBytes); !moved) return moved;
  if (mprotect(moved_to, kChunkBytes, PROT_READ) != 0) {
    return fail(Errc::kSystem, "cannot read the moved pages", errno);
  }
  return {};
}

Result<void> SigsegvEngine::replace_sealed(std::uintptr_t chunk, int memory_fd, std::uint64_t offset) {
  // From inaccessible to inaccessible, in one call.
  auto view = map_shared_view(reinterpret_cast<void*>(chunk), kChunkBytes, memory_fd, offset, PROT_NONE);
  if (!view) return tl::unexpected(view.error());
  attached_.add(chunk, kChunkBytes);
  return {};
}

}  // namespace dsm::mem
