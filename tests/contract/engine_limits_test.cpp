// Where the machine's limits are: memory areas, addresses in use, a chunk opened twice.
#include <vector>

#include "base/log.h"
#include "engine_rig.h"

namespace dsm::mem {
namespace {

using EngineLimits = EngineContract;

// Uses up the kernel's memory areas for this process but for `spare`, by pages with unlike neighbours.
bool use_up_memory_areas(std::size_t spare) {
  long limit = 0;
  std::FILE* file = std::fopen("/proc/sys/vm/max_map_count", "r");
  if (file == nullptr || std::fscanf(file, "%ld", &limit) != 1 || limit > 1'000'000) return false;
  std::fclose(file);
  const std::size_t pages = static_cast<std::size_t>(limit) + 1024;
  void* area = mmap(nullptr, pages * kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) return false;
  const auto protect = [area](std::size_t page, int protection) {
    return mprotect(static_cast<std::byte*>(area) + page * kPageBytes, kPageBytes, protection) == 0;
  };
  std::size_t page = 1;
  while (page < pages && protect(page, PROT_READ)) page += 2;
  if (page >= pages) return false;
  for (std::size_t back = 0; back < spare; back += 2) {
    page -= 2;
    if (!protect(page, PROT_NONE)) return false;
  }
  return true;
}

// The engine needs a memory area for (almost) every page here and gets few: every access must still be right.
TEST_P(EngineLimits, FewMemoryAreasLeft) {
  if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer cannot go on without more memory areas";
  constexpr int kNoSuchLimit = 99;
  const int end = in_child([] {
    set_log(LogLevel::kError, 1);
    Rig rig(GetParam());
    if (!use_up_memory_areas(40)) _exit(kNoSuchLimit);
    constexpr PageId kPages = 1000;
    for (int round = 0; round < 3; ++round) {
      for (PageId page = 0; page < kPages; page += 2) {
        rig.app(rig.foreign + page) = page + static_cast<PageId>(round);
        if (page % 8 == 0) rig.engine->lower({rig.foreign + page, 1});
        if (page % 8 == 2) rig.engine->unmap({rig.foreign + page, 1});
      }
      for (PageId page = 0; page < kPages; page += 2) {
        if (rig.app(rig.foreign + page) != page + static_cast<PageId>(round)) _exit(1);
        if (rig.served(rig.foreign + page) != page + static_cast<PageId>(round)) _exit(2);
      }
    }
    // What was dropped for want of areas comes back without the sink; what was taken away does not.
    rig.engine->map({rig.foreign, 1}, Access::kWrite);
    if (rig.faults_of_write(rig.foreign, 1) != 0) _exit(3);
    rig.engine->unmap({rig.foreign, 1});
    if (rig.faults_of_read(rig.foreign) != 1) _exit(4);
  });
  if (end == kNoSuchLimit) GTEST_SKIP() << "vm.max_map_count is too high to be reached here";
  EXPECT_EQ(end, 0);
}

TEST_P(EngineLimits, AddressInUseIsRefusedAndLeftAlone) {
  const Geometry geometry = test_geometry();
  const int memory = memfd_create("engine-test", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(memory, static_cast<off_t>(geometry.memory_bytes())), 0);
  auto engine = make_engine(GetParam(), geometry, nullptr);
  ASSERT_TRUE(engine.has_value());
  void* const place = reinterpret_cast<void*>(geometry.base + 3 * kChunkBytes);
  void* const taken =
      mmap(place, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  ASSERT_EQ(taken, place);
  *static_cast<volatile int*>(taken) = 5;
  testing::internal::CaptureStderr();
  const auto space = make_address_space(geometry, 1, memory, nullptr, **engine);
  const std::string said = testing::internal::GetCapturedStderr();
  ASSERT_FALSE(space.has_value());
  EXPECT_NE(said.find("in use"), std::string::npos) << said;
  EXPECT_NE(said.find("DSM_BASE"), std::string::npos) << said;
  EXPECT_EQ(*static_cast<volatile int*>(taken), 5);
  munmap(taken, kPageBytes);
  close(memory);
}

TEST_P(EngineLimits, OpeningAChunkTwiceIsABug) {
  EXPECT_EQ(in_child([] {
              Rig rig(GetParam());
              (void)rig.space->open_private(rig.own, 2);
              (void)rig.space->open_private(rig.own + kChunk, 1);
            }),
            -SIGABRT);
}

TEST_P(EngineLimits, SharingBeforeStartIsRefusedByTheEngine) {
  const Geometry geometry = test_geometry();
  auto engine = make_engine(GetParam(), geometry, nullptr);
  ASSERT_TRUE(engine.has_value());
  const auto sealed = (*engine)->seal_private(geometry.base, nullptr);
  ASSERT_FALSE(sealed.has_value());
  EXPECT_EQ(sealed.error().code, Errc::kNotStarted);
}

FOR_ALL_ENGINES(EngineLimits);

}  // namespace
}  // namespace dsm::mem
