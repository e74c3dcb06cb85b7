// What the engine contract tests stand on: one node's memory file, its two views, an engine and a sink that a test
// scripts.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/config.h"
#include "base/futex.h"
#include "base/tsan.h"
#include "mem/address_space.h"
#include "mem/fault_engine.h"

namespace dsm::mem {

inline constexpr PageId kChunk = kPagesPerChunk;

// Two nodes, this one is the second: pages of the other slice and of the interleaved region are attached from the
// start.
inline Geometry test_geometry() {
  Geometry geometry;
  geometry.base = static_cast<std::uint64_t>(read_config().value().base);
  geometry.slice_bytes = 16 * kChunkBytes;
  geometry.interleaved_bytes = 4 * kChunkBytes;
  geometry.nodes = 2;
  return geometry;
}

// What a fault does. A thread of the engine may run it, after and before what the faulting thread does; ThreadSanitizer
// sees no faults, so the threads meet here.
class Script {
 public:
  template <typename F>
  void operator=(F run) {
    meet();
    run_ = std::move(run);
    meet();
  }
  FaultVerdict operator()(std::uintptr_t address, Access wanted, pid_t tid) {
    meet();
    const FaultVerdict verdict = run_(address, wanted, tid);
    meet();
    return verdict;
  }
  void meet() const {
    tsan_after(this);
    tsan_before(this);
  }

 private:
  std::function<FaultVerdict(std::uintptr_t address, Access wanted, pid_t tid)> run_;
};

// Records what it is told. Answers by the test's script; by itself it maps what is wanted.
class ScriptedSink final : public FaultSink {
 public:
  FaultVerdict on_fault(const Fault& fault) override {
    (fault.wanted == Access::kWrite ? writes : reads).fetch_add(1);
    last_address.store(fault.address);
    last_tid.store(fault.tid);
    if (whole) return whole(fault);
    return script(fault.address, fault.wanted, fault.tid);
  }

  Script script;
  std::function<FaultVerdict(const Fault& fault)> whole;  // instead of `script`, if there is one
  std::atomic<int> reads{0};
  std::atomic<int> writes{0};
  std::atomic<std::uintptr_t> last_address{0};
  std::atomic<pid_t> last_tid{0};
};

class Rig {
 public:
  static constexpr NodeId kSelf = 1;

  explicit Rig(const std::string& engine_name) {
    memory_fd = memfd_create("engine-test", MFD_CLOEXEC);
    require(memory_fd >= 0 && ftruncate(memory_fd, static_cast<off_t>(geometry.memory_bytes())) == 0, "memfd");
    void* view =
        mmap(nullptr, geometry.memory_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory_fd, 0);
    require(view != MAP_FAILED, "service view");
    service = static_cast<std::byte*>(view);
    auto made = make_engine(engine_name, geometry, service);
    require(made.has_value(), "make_engine");
    engine = std::move(*made);
    auto mapped = make_address_space(geometry, kSelf, memory_fd, service, *engine);
    require(mapped.has_value(), "make_address_space");
    space = std::move(*mapped);
    sink.script = [this](std::uintptr_t address, Access wanted, pid_t) { return grant(address, wanted); };
    require(engine->start(sink).has_value(), "start");
  }
  ~Rig() {
    engine->stop();
    space.reset();
    engine.reset();
    munmap(service, geometry.memory_bytes());
    close(memory_fd);
  }

  static void require(bool good, const char* what) {
    if (good) return;
    std::perror(what);
    std::abort();
  }

  FaultVerdict grant(std::uintptr_t address, Access wanted) {
    engine->map({geometry.page_of(address), 1}, wanted);
    return FaultVerdict::kRetry;
  }

  // A 64-bit word of a page, as the program sees it and as the runtime does.
  volatile std::uint64_t& app(PageId page, std::size_t word = 0) const {
    sink.script.meet();
    return *reinterpret_cast<volatile std::uint64_t*>(geometry.address_of(page) + word * sizeof(std::uint64_t));
  }
  void load(PageId page, std::size_t word = 0) const { [[maybe_unused]] const std::uint64_t value = app(page, word); }
  volatile std::uint64_t& served(PageId page, std::size_t word = 0) const {
    return *reinterpret_cast<volatile std::uint64_t*>(service + page * kPageBytes + word * sizeof(std::uint64_t));
  }

  int faults() const { return sink.reads + sink.writes; }
  // The faults that `access` takes.
  template <typename F>
  int faults_of(F access) const {
    const int before = faults();
    access();
    return faults() - before;
  }
  int faults_of_read(PageId page) const {
    return faults_of([&] { load(page); });
  }
  int faults_of_write(PageId page, std::uint64_t value) const {
    return faults_of([&] { app(page) = value; });
  }

  const Geometry geometry = test_geometry();
  const PageId foreign = 0;                        // first page of the other node's slice
  const PageId own = geometry.slice_first(kSelf);  // first page of this node's slice
  const PageId interleaved = geometry.interleaved_first();
  int memory_fd = -1;
  std::byte* service = nullptr;
  ScriptedSink sink;
  std::unique_ptr<FaultEngine> engine;
  std::unique_ptr<AddressSpace> space;
};

// Runs every test once per engine; says so loudly when this machine cannot.
class EngineContract : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string obstacle = engine_obstacle(GetParam());
    if (obstacle.empty()) return;
    std::fprintf(stderr, "\n*** NOT TESTED HERE: engine %s: %s ***\n\n", GetParam().c_str(), obstacle.c_str());
    GTEST_SKIP() << obstacle;
  }
};

inline std::string engine_test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& letter : name) {
    if (letter == '-') letter = '_';
  }
  return name;
}

#define FOR_ALL_ENGINES(suite) \
  INSTANTIATE_TEST_SUITE_P(Engine, suite, testing::Values("uffd-inline", "uffd-thread", "sigsegv"), engine_test_name)

// How a forked child that runs `body` ends: its exit code (0: body returned), or minus the signal that killed it.
template <typename F>
int in_child(F body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace dsm::mem
