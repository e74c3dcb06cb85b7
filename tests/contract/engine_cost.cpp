// What the engines cost: nanoseconds a page, beside the barest hand-written loop around the same requests of the
// kernel.
//   engine_cost [rounds]
// Engine and bare loop take turns, so that a busy machine disturbs both alike; each figure is its quietest round.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/config.h"
#include "mem/address_space.h"
#include "mem/fault_engine.h"

namespace dsm::mem {
namespace {

constexpr std::uint32_t kPages = 512;  // of a round: short enough to be left alone by others now and then
constexpr std::size_t kBytes = std::size_t{kPages} * kPageBytes;

void require(bool good, const char* what) {
  if (good) return;
  std::perror(what);
  std::abort();
}

double quietest(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }

double ns_per_page(std::uint32_t pages, const std::function<void()>& work) {
  const std::int64_t start = now_ns();
  work();
  return static_cast<double>(now_ns() - start) / pages;
}

void store_to_each_page(std::uintptr_t first) {
  for (std::size_t at = 0; at < kBytes; at += kPageBytes) *reinterpret_cast<volatile char*>(first + at) = 1;
}

// The bare loops: a mapping of their own and exactly what the kernel needs to be told.
class Bare {
 public:
  virtual ~Bare() = default;
  virtual void take_over() {}
  virtual void hand_back() {}
  virtual void map_all() = 0;  // in batches of a chunk
  void forget() const { require(madvise(at(), kBytes, MADV_DONTNEED) == 0, "madvise"); }
  std::uintptr_t first() const { return reinterpret_cast<std::uintptr_t>(at()); }

 protected:
  explicit Bare(int protection) {
    const int memory = memfd_create("bare", MFD_CLOEXEC);
    require(memory >= 0 && ftruncate(memory, kBytes) == 0, "memfd");
    void* full = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memory, 0);
    view_ = mmap(nullptr, kBytes, protection, MAP_SHARED, memory, 0);
    require(full != MAP_FAILED && view_ != MAP_FAILED, "mmap");
    close(memory);
  }
  void* at() const { return view_; }

 private:
  void* view_;
};

class BareSignal : public Bare {
 public:
  BareSignal(int protection, int signal, void (*handler)(int, siginfo_t*, void*)) : Bare(protection), signal_(signal) {
    action_.sa_sigaction = handler;
    action_.sa_flags = SA_SIGINFO;
    sigfillset(&action_.sa_mask);
  }
  void take_over() override { sigaction(signal_, &action_, &before_); }
  void hand_back() override { sigaction(signal_, &before_, nullptr); }

 private:
  int signal_;
  struct sigaction action_ {};
  struct sigaction before_ {};
};

int bare_fd = -1;

void bare_continue(std::uintptr_t address, std::size_t bytes) {
  uffdio_continue request{};
  request.range = {address, bytes};
  if (ioctl(bare_fd, UFFDIO_CONTINUE, &request) != 0) std::abort();
}

int open_userfault(std::uint64_t features, std::uintptr_t first) {
  const int fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC));
  uffdio_api api{UFFD_API, features | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM, 0};
  require(fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0, "userfaultfd");
  uffdio_register range{};
  range.range = {first, kBytes};
  range.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;
  require(ioctl(fd, UFFDIO_REGISTER, &range) == 0, "UFFDIO_REGISTER");
  return fd;
}

std::uintptr_t page_of(const siginfo_t* info) {
  return reinterpret_cast<std::uintptr_t>(info->si_addr) & ~(kPageBytes - 1);
}

struct BareInline final : BareSignal {
  BareInline()
      : BareSignal(PROT_READ | PROT_WRITE, SIGBUS,
                   [](int, siginfo_t* info, void*) { bare_continue(page_of(info), kPageBytes); }) {
    bare_fd = open_userfault(UFFD_FEATURE_SIGBUS, first());
  }
  ~BareInline() override { close(bare_fd); }
  void map_all() override {
    for (std::size_t at = 0; at < kBytes; at += kChunkBytes) bare_continue(first() + at, kChunkBytes);
  }
};

struct BareThread final : Bare {
  BareThread() : Bare(PROT_READ | PROT_WRITE) {
    bare_fd = open_userfault(0, first());
    std::thread([] {
      uffd_msg message;
      while (read(bare_fd, &message, sizeof message) == sizeof message) {
        bare_continue(message.arg.pagefault.address & ~(kPageBytes - 1), kPageBytes);
      }
    }).detach();
  }
  void map_all() override {
    for (std::size_t at = 0; at < kBytes; at += kChunkBytes) bare_continue(first() + at, kChunkBytes);
  }
};

struct BareMprotect final : BareSignal {
  BareMprotect()
      : BareSignal(PROT_NONE, SIGSEGV, [](int, siginfo_t* info, void*) {
          if (mprotect(reinterpret_cast<void*>(page_of(info)), kPageBytes, PROT_READ | PROT_WRITE) != 0) std::abort();
        }) {}
  void map_all() override {
    for (std::size_t at = 0; at < kBytes; at += kChunkBytes) {
      mprotect(reinterpret_cast<void*>(first() + at), kChunkBytes, PROT_READ | PROT_WRITE);
    }
    store_to_each_page(first());
  }
};

std::unique_ptr<Bare> make_bare(const std::string& engine) {
  if (engine == "uffd-inline") return std::make_unique<BareInline>();
  if (engine == "uffd-thread") return std::make_unique<BareThread>();
  return std::make_unique<BareMprotect>();
}

struct MappingSink final : FaultSink {
  FaultEngine* engine = nullptr;
  Geometry geometry;
  FaultVerdict on_fault(const Fault& fault) override {
    engine->map({geometry.page_of(fault.address), 1}, fault.wanted);
    return FaultVerdict::kRetry;
  }
};

void print(const char* what, const std::vector<double>& engine, const std::vector<double>& bare) {
  if (engine.empty()) return;
  std::printf("  %-34s %9.0f ns/page", what, quietest(engine));
  if (!bare.empty()) std::printf("   bare %9.0f   ratio %.2f", quietest(bare), quietest(engine) / quietest(bare));
  std::printf("\n");
}

void measure_pages(const std::string& name, FaultEngine& engine, const Geometry& geometry, int rounds) {
  const std::unique_ptr<Bare> bare = make_bare(name);
  const PageRange all{0, kPages};
  const std::uintptr_t first = geometry.base;
  const bool by_mprotect = name == "sigsegv";
  std::vector<double> fault, bare_fault, batch, bare_batch, lower, raise, unmap, lower_one, unmap_one;
  for (int round = 0; round < rounds; ++round) {
    engine.unmap(all);
    fault.push_back(ns_per_page(kPages, [&] { store_to_each_page(first); }));
    lower.push_back(ns_per_page(kPages, [&] { engine.lower(all); }));
    raise.push_back(ns_per_page(kPages, [&] { engine.raise(all); }));
    lower_one.push_back(ns_per_page(128, [&] {
      for (PageId page = 0; page < 128; ++page) engine.lower({page, 1});
    }));
    unmap_one.push_back(ns_per_page(128, [&] {
      for (PageId page = 0; page < 128; ++page) engine.unmap({page, 1});
    }));
    unmap.push_back(ns_per_page(kPages, [&] { engine.unmap(all); }));
    batch.push_back(ns_per_page(kPages, [&] {
      engine.map(all, Access::kWrite);
      if (by_mprotect) store_to_each_page(first);
    }));
    if (by_mprotect) {
      mprotect(reinterpret_cast<void*>(bare->first()), kBytes, PROT_NONE);
    } else {
      bare->forget();
    }
    bare->take_over();
    bare_fault.push_back(ns_per_page(kPages, [&] { store_to_each_page(bare->first()); }));
    bare->hand_back();
    if (by_mprotect) {
      mprotect(reinterpret_cast<void*>(bare->first()), kBytes, PROT_NONE);
    } else {
      bare->forget();
    }
    bare_batch.push_back(ns_per_page(kPages, [&] { bare->map_all(); }));
  }
  print("fault, one page", fault, bare_fault);
  print("map, 512 pages at once", batch, bare_batch);
  print("lower, 512 pages at once", lower, {});
  print("raise, 512 pages at once", raise, {});
  print("unmap, 512 pages at once", unmap, {});
  print("lower, one page", lower_one, {});
  print("unmap, one page", unmap_one, {});
}

void measure_sharing(AddressSpace& space, const Geometry& geometry, std::uint64_t chunks) {
  const PageId own = geometry.slice_first(1);
  require(space.open_private(own, chunks).has_value(), "open_private");
  std::vector<double> full;
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
    const PageId first = own + chunk * kPagesPerChunk;
    for (PageId page = first; page < first + kPagesPerChunk; ++page) {
      *reinterpret_cast<volatile char*>(geometry.address_of(page)) = 1;
    }
    full.push_back(ns_per_page(kPagesPerChunk, [&] { space.share(first, [](PageId) {}); }));
  }
  print("share a full chunk", full, {});
}

void measure(const std::string& name, int rounds) {
  if (const std::string obstacle = engine_obstacle(name); !obstacle.empty()) {
    std::printf("%s: NOT MEASURED: %s\n", name.c_str(), obstacle.c_str());
    return;
  }
  Geometry geometry;
  geometry.base = static_cast<std::uint64_t>(read_config().value().base);
  geometry.slice_bytes = 64 * kChunkBytes;
  geometry.nodes = 2;
  const int memory = memfd_create("cost", MFD_CLOEXEC);
  require(memory >= 0 && ftruncate(memory, static_cast<off_t>(geometry.memory_bytes())) == 0, "memfd");
  void* view = mmap(nullptr, geometry.memory_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  require(view != MAP_FAILED && madvise(view, kBytes, MADV_POPULATE_WRITE) == 0, "service view");
  auto engine = make_engine(name, geometry, static_cast<std::byte*>(view)).value();
  auto space = make_address_space(geometry, 1, memory, static_cast<std::byte*>(view), *engine).value();
  MappingSink sink;
  sink.engine = engine.get();
  sink.geometry = geometry;
  require(engine->start(sink).has_value(), "start");
  std::printf("%s\n", name.c_str());
  measure_pages(name, *engine, geometry, rounds);
  measure_sharing(*space, geometry, 32);
  engine->stop();
  munmap(view, geometry.memory_bytes());
  close(memory);
}

}  // namespace
}  // namespace dsm::mem

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 200;
  for (const char* name : {"uffd-inline", "uffd-thread", "sigsegv"}) dsm::mem::measure(name, rounds > 0 ? rounds : 1);
  return 0;
}
