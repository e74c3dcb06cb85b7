// The private jemalloc: it allocates, it is apart from the program's malloc, and its options come from us alone.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "heap/jemalloc.h"

namespace {

std::uint64_t allocated_bytes() {
  std::uint64_t epoch = 1;
  EXPECT_EQ(dsm_je_mallctl("epoch", nullptr, nullptr, &epoch, sizeof epoch), 0);
  std::size_t bytes = 0;
  std::size_t size = sizeof bytes;
  EXPECT_EQ(dsm_je_mallctl("stats.allocated", &bytes, &size, nullptr, 0), 0);
  return bytes;
}

TEST(JemallocTest, AllocatesResizesAndFrees) {
  auto* block = static_cast<char*>(dsm_je_mallocx(1000, MALLOCX_ALIGN(4096) | MALLOCX_ZERO));
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 4096, 0U);
  EXPECT_GE(dsm_je_sallocx(block, 0), dsm_je_nallocx(1000, 0));
  EXPECT_EQ(block[999], 0);
  std::memset(block, 'x', 1000);
  block = static_cast<char*>(dsm_je_rallocx(block, 100'000, 0));
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(block[999], 'x');
  dsm_je_dallocx(block, 0);
}

TEST(JemallocTest, ProgramsMallocIsAnotherOne) {
  const std::uint64_t before = allocated_bytes();
  const std::unique_ptr<void, decltype(&std::free)> theirs{std::malloc(8 << 20), &std::free};
  ASSERT_NE(theirs, nullptr);
  EXPECT_EQ(allocated_bytes(), before);
  void* ours = dsm_je_mallocx(8 << 20, 0);
  ASSERT_NE(ours, nullptr);
  EXPECT_GE(allocated_bytes(), before + (8 << 20));
  dsm_je_dallocx(ours, 0);
}

// The test is started again with MALLOC_CONF set to something that would stop it.
TEST(JemallocDeathTest, ProgramsOptionsAreNotOurs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ASSERT_EQ(setenv("MALLOC_CONF", "abort_conf:true,no_such_option:1", 1), 0);
  EXPECT_EXIT(
      {
        dsm_je_dallocx(dsm_je_mallocx(64, 0), 0);
        _exit(0);
      },
      testing::ExitedWithCode(0), "");
  unsetenv("MALLOC_CONF");
}

}  // namespace
