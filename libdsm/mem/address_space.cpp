// The application view and the conversion of private chunks. States change by compare-and-swap, so several threads may
// open and share chunks at once.
//
// Why sharing under a running program loses no write and lets no access bypass the engine (A: the chunk's range):
// 1. seal_private makes every later touch of A a fault into the sink (uffd: A is registered, then its page table
//    entries move away; sigsegv: PROT_NONE first). A store is before that, and its bytes move along with the page, or
//    it faults. The kernel flushes the translation caches before the move returns, on all CPUs.
// 2. The bytes are copied from where nobody writes into memory that nobody knows yet.
// 3. replace_sealed changes A from "faults into the sink" to "faults into the sink" in one step of the kernel: mremap
//    of a registered mapping over the sealed one (UFFD_FEATURE_EVENT_REMAP keeps the registration), or mmap with
//    PROT_NONE.
// 4. Between 1 and the end of publish() the state is kSharing: the sink lets whoever faults wait. After that the
//    coherence protocol alone gives access, page by page.
#include "mem/address_space.h"

#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/trace.h"
#include "mem/private_chunk.h"
#include "mem/shared_view.h"

namespace dsm::mem {
namespace {

constexpr PageId kChunkPages = kPagesPerChunk;

// The failure of a step of share(): the chunk is half way, and nobody could serve it.
[[noreturn]] void cannot_share(std::uintptr_t chunk, const Error& error) {
  log(LogLevel::kError, "mem", "cannot share the chunk at {:#x}: {}", chunk, describe(error));
  std::abort();
}

// What occupies [first, end), for the message: the first line of /proc/self/maps that overlaps it.
std::string occupant(std::uintptr_t first, std::uintptr_t end) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> maps(std::fopen("/proc/self/maps", "re"), &std::fclose);
  std::array<char, 512> line;
  while (maps != nullptr && std::fgets(line.data(), line.size(), maps.get()) != nullptr) {
    char* rest = nullptr;
    const std::uintptr_t from = std::strtoull(line.data(), &rest, 16);
    const std::uintptr_t to = std::strtoull(rest + 1, &rest, 16);
    if (from >= end || to <= first) continue;
    const std::string text(line.data(), std::strcspn(line.data(), "\n"));
    const std::size_t name = text.find_first_of("/[");
    return name == std::string::npos ? "a mapping without a name" : text.substr(name);
  }
  return "another mapping";
}

// A reserved range for the pages of one chunk, aligned like one so that huge pages move whole.
class Staging {
 public:
  Staging() : reserved_(mmap(nullptr, kReserved, PROT_NONE, kFlags, -1, 0)) {}
  ~Staging() { munmap(reserved_, kReserved); }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  bool valid() const { return reserved_ != MAP_FAILED; }
  std::byte* chunk() const {
    return reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(reserved_) + kChunkBytes - 1) &
                                        ~(kChunkBytes - 1));
  }

 private:
  static constexpr std::size_t kReserved = 2 * kChunkBytes;
  static constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* reserved_;
};

class MappedSpace final : public AddressSpace {
 public:
  static Result<std::unique_ptr<AddressSpace>> make(const Geometry& geometry, NodeId self, int memory_fd,
                                                    std::byte* service, FaultEngine& engine);
  ~MappedSpace() override { munmap(pointer(geometry_.base), geometry_.memory_bytes()); }

  ChunkState state(PageId page) const override;
  Result<void> open_private(PageId first, std::uint64_t chunks) override;
  bool share(PageId page, const std::function<void(PageId)>& publish) override;
  void wait_shared(PageId page) override;

 private:
  using State = std::atomic<std::uint32_t>;  // a ChunkState, and a futex

  MappedSpace(const Geometry& geometry, NodeId self, int memory_fd, std::byte* service, FaultEngine& engine)
      : geometry_(geometry),
        own_first_(geometry.slice_first(self)),
        own_end_(own_first_ + geometry.slice_pages()),
        memory_fd_(memory_fd),
        service_(service),
        engine_(engine),
        states_(new State[geometry.slice_pages() / kChunkPages]()) {}

  static void* pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }
  static std::uint32_t value(ChunkState state) { return static_cast<std::uint32_t>(state); }
  bool own(PageId page) const { return page >= own_first_ && page < own_end_; }
  State& word(PageId page) const { return states_[(page - own_first_) / kChunkPages]; }
  Result<void> attach(PageId first, PageId end);
  void convert(PageId first, const std::function<void(PageId)>& publish);

  Geometry geometry_;
  PageId own_first_;
  PageId own_end_;
  int memory_fd_;
  std::byte* service_;
  FaultEngine& engine_;
  std::unique_ptr<State[]> states_;  // one a chunk of the own slice
};

Result<std::unique_ptr<AddressSpace>> MappedSpace::make(const Geometry& geometry, NodeId self, int memory_fd,
                                                        std::byte* service, FaultEngine& engine) {
  DSM_CHECK(geometry.base % kChunkBytes == 0 && geometry.slice_bytes % kChunkBytes == 0 &&
            geometry.interleaved_bytes % kChunkBytes == 0 && self < geometry.nodes);
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  const std::size_t bytes = geometry.memory_bytes();
  void* range = mmap(pointer(geometry.base), bytes, PROT_NONE, kFlags, -1, 0);
  if (range != pointer(geometry.base)) {
    const int error = range == MAP_FAILED ? errno : EEXIST;  // Linux before 4.17 maps it elsewhere
    if (range != MAP_FAILED) munmap(range, bytes);
    if (error == EEXIST) {
      log(LogLevel::kError, "mem", "the global range {:#x} to {:#x} is in use ({}); choose another with DSM_BASE",
          geometry.base, geometry.base + bytes, occupant(geometry.base, geometry.base + bytes));
    } else {
      log(LogLevel::kError, "mem",
          "cannot reserve the global range {:#x} to {:#x}: {}; choose another DSM_BASE or a smaller DSM_SLICE",
          geometry.base, geometry.base + bytes, strerrordesc_np(error));
    }
    return fail(Errc::kNoMemory, "cannot reserve the global range", error);
  }
  std::unique_ptr<MappedSpace> space(new MappedSpace(geometry, self, memory_fd, service, engine));
  if (auto attached = space->attach(0, space->own_first_); !attached) return tl::unexpected(attached.error());
  if (auto attached = space->attach(space->own_end_, geometry.memory_pages()); !attached) {
    return tl::unexpected(attached.error());
  }
  return space;
}

Result<void> MappedSpace::attach(PageId first, PageId end) {
  if (first == end) return {};
  const std::uintptr_t address = geometry_.address_of(first);
  const std::size_t bytes = (end - first) * kPageBytes;
  auto view = map_shared_view(pointer(address), bytes, memory_fd_, first * kPageBytes, PROT_NONE);
  if (!view) return tl::unexpected(view.error());
  return engine_.attach(address, bytes);
}

ChunkState MappedSpace::state(PageId page) const {
  if (!own(page)) return ChunkState::kShared;
  return static_cast<ChunkState>(word(page).load(std::memory_order_acquire));
}

Result<void> MappedSpace::open_private(PageId first, std::uint64_t chunks) {
  DSM_CHECK(first % kChunkPages == 0, "page {} is not a chunk's first", first);
  if (first < own_first_ || first > own_end_ || chunks > (own_end_ - first) / kChunkPages) {
    return fail(Errc::kNoMemory, "this node's slice of the global range is used up; choose a larger DSM_SLICE");
  }
  const PageId end = first + chunks * kChunkPages;
  for (PageId page = first; page < end; page += kChunkPages) {
    DSM_CHECK(state(page) == ChunkState::kUnused, "the chunk of page {} was opened before", page);
  }
  if (chunks == 0) return {};
  void* opened = mmap(pointer(geometry_.address_of(first)), chunks * kChunkBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (opened == MAP_FAILED) return fail(Errc::kNoMemory, "cannot allocate heap memory", errno);
  for (PageId page = first; page < end; page += kChunkPages) {
    word(page).store(value(ChunkState::kPrivate), std::memory_order_release);
  }
  return {};
}

bool MappedSpace::share(PageId page, const std::function<void(PageId)>& publish) {
  if (!own(page)) return true;
  while (true) {
    std::uint32_t seen = word(page).load(std::memory_order_acquire);
    if (seen == value(ChunkState::kUnused)) return false;
    if (seen == value(ChunkState::kShared)) return true;
    if (seen == value(ChunkState::kSharing)) {
      wait_shared(page);
      continue;
    }
    // A handler of the program that touches the chunk while this very thread converts it would wait for ever.
    const SignalsBlocked blocked;
    if (!word(page).compare_exchange_strong(seen, value(ChunkState::kSharing), std::memory_order_acq_rel)) continue;
    convert(page - page % kChunkPages, publish);
    word(page).store(value(ChunkState::kShared), std::memory_order_release);
    futex_wake(word(page), INT32_MAX, FutexScope::kProcess);
    engine_.release_waiters(geometry_.address_of(page - page % kChunkPages), kChunkBytes);
    return true;
  }
}

void MappedSpace::convert(PageId first, const std::function<void(PageId)>& publish) {
  const std::uintptr_t chunk = geometry_.address_of(first);
  const std::uint64_t offset = first * kPageBytes;
  const Staging staging;
  if (!staging.valid()) cannot_share(chunk, Error{Errc::kNoMemory, errno, "cannot reserve a staging range"});
  if (auto sealed = engine_.seal_private(chunk, staging.chunk()); !sealed) cannot_share(chunk, sealed.error());
  copy_populated(staging.chunk(), memory_fd_, offset, service_ + offset);
  auto replaced = engine_.replace_sealed(chunk, memory_fd_, offset);
  if (!replaced) cannot_share(chunk, replaced.error());
  trace(TraceEvent::kShareChunk, first);
  publish(first);
}

void MappedSpace::wait_shared(PageId page) {
  if (!own(page)) return;
  constexpr auto kSharing = static_cast<std::uint32_t>(ChunkState::kSharing);
  while (word(page).load(std::memory_order_acquire) == kSharing) futex_wait(word(page), kSharing, FutexScope::kProcess);
}

}  // namespace

Result<std::unique_ptr<AddressSpace>> make_address_space(const Geometry& geometry, NodeId self, int memory_fd,
                                                         std::byte* service, FaultEngine& engine) {
  return MappedSpace::make(geometry, self, memory_fd, service, engine);
}

}  // namespace dsm::mem
