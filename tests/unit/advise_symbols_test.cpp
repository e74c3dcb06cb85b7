// Names, stacks and the recorder's file, in this very process.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "advise/elf_file.h"
#include "advise/profile_file.h"
#include "advise/symbols.h"
#include "base/clock.h"
#include "insight/recorder.h"
#include "insight/stack.h"

namespace dsm {
namespace {

using advise::bare_name;

Geometry small_geometry() {
  Geometry geometry;
  geometry.slice_bytes = 16 * kChunkBytes;
  geometry.interleaved_bytes = 16 * kChunkBytes;
  geometry.nodes = 2;
  return geometry;
}

class ProfileTest : public testing::Test {
 protected:
  ProfileTest() : name_(std::filesystem::temp_directory_path() / ("insight-" + std::to_string(::getpid()))) {}
  ~ProfileTest() override { std::filesystem::remove(name_); }
  const std::string name_;
};

TEST(BareName, LeavesOutWhatIsReturnedAndTaken) {
  EXPECT_EQ(bare_name("int a::b<c (*)(d)>(e, f)"), "a::b<c (*)(d)>");
  EXPECT_EQ(bare_name("(anonymous namespace)::Plain::write(int)"), "(anonymous namespace)::Plain::write");
  EXPECT_EQ(bare_name("operator new(unsigned long)"), "operator new");
  EXPECT_EQ(bare_name("add"), "add");
}

TEST(IsRuntime, KnowsWhereNobodyAddsHints) {
  advise::Frame frame;
  frame.module = "/bin/program";
  frame.function = "dsm::alloc(unsigned long)";
  EXPECT_TRUE(advise::is_runtime(frame));
  frame.function = "app::main()";
  EXPECT_FALSE(advise::is_runtime(frame));
  frame.module = "/usr/lib/libdsm_preload.so";
  EXPECT_TRUE(advise::is_runtime(frame));
}

[[gnu::noinline]] std::size_t walk_from_here(std::uint64_t* addresses) {
  const std::size_t depth = insight::walk_stack(insight::From::kCaller, addresses, insight::kDepth);
  asm volatile("" ::: "memory");  // no tail call, which would leave this function out
  return depth;
}

TEST(WalkStack, BeginsWithTheCallersCaller) {
  std::uint64_t addresses[insight::kDepth]{};
  ASSERT_GE(walk_from_here(addresses), 2U);
  EXPECT_NE(addresses[0], 0U);
}

TEST(WalkStack, FindsNoInterruptedFunctionOutsideOfAHandler) {
  std::uint64_t addresses[insight::kDepth]{};
  EXPECT_EQ(insight::walk_stack(insight::From::kInterrupted, addresses, insight::kDepth), 0U);
}

TEST(SamplingPeriod, NeverLetsTheTableFill) {
  std::uint64_t taken = 0, events = 0;
  for (; events < std::uint64_t{1} << 22; ++events) {
    if (events % insight::sampling_period(taken, 1024) == 0) ++taken;
  }
  EXPECT_LE(taken, 1024U);
  EXPECT_GT(taken, 512U);
}

TEST_F(ProfileTest, HasWhatWasRecorded) {
  {
    auto recorder = insight::Recorder::open(name_, small_geometry(), 1, "rdma");
    ASSERT_TRUE(recorder);
    const std::uint64_t address = small_geometry().address_of(5) + 130;
    for (int i = 0; i < 3; ++i) (*recorder)->fault({5, address, true, true, 77, now_ns(), 2000});
    (*recorder)->waited(5, 1500);
    (*recorder)->invalidated({5, 2});
    int block = 0;
    (*recorder)->allocated(&block, sizeof block, __builtin_return_address(0));
    (*recorder)->finish();
  }
  const auto file = advise::ProfileFile::open(name_);
  ASSERT_TRUE(file) << describe(file.error());
  EXPECT_FALSE((*file)->joined(0));
  EXPECT_TRUE((*file)->joined(1));
  EXPECT_EQ((*file)->samples(1), 3U);
  const auto pages = (*file)->pages();
  ASSERT_EQ(pages.size(), 2U);
  EXPECT_EQ(pages[0].page, 5U);
  EXPECT_EQ(pages[0].nodes.at(0).writes, 3U);
  EXPECT_EQ(pages[0].nodes.at(0).fault_ns, 6000U);
  EXPECT_EQ(pages[0].nodes.at(0).granules_written, 1U << 2);
  EXPECT_EQ(pages[0].nodes.at(0).waits, 1U);
  EXPECT_EQ((*file)->part(1).blocks.load(), 1U);
}

TEST_F(ProfileTest, CountsExactlyFromManyThreads) {
  auto recorder = insight::Recorder::open(name_, small_geometry(), 0, "");
  ASSERT_TRUE(recorder);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (PageId page = 0; page < 200; ++page) (*recorder)->fault({page, page * kPageBytes, false, false, 1, 0, 1});
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto file = advise::ProfileFile::open(name_);
  ASSERT_TRUE(file);
  const auto pages = (*file)->pages();
  ASSERT_EQ(pages.size(), 200U);
  for (const auto& page : pages) EXPECT_EQ(page.nodes.at(0).reads, 4U);
}

TEST_F(ProfileTest, NamesThisFunctionByAnExportedSymbolOrLine) {
  std::uint64_t stack[insight::kDepth]{};
  std::size_t depth = 0;
  {
    auto recorder = insight::Recorder::open(name_, small_geometry(), 0, "");
    ASSERT_TRUE(recorder);
    depth = walk_from_here(stack);
  }
  ASSERT_GE(depth, 1U);
  const auto file = advise::ProfileFile::open(name_);
  ASSERT_TRUE(file);
  advise::Symbols symbols(**file);
  symbols.want({0, stack[0], true});
  symbols.resolve();
  const advise::Frame& frame = symbols.chain({0, stack[0], true}).front();
  EXPECT_NE(frame.module.find("advise_symbols_test"), std::string::npos);
  EXPECT_NE(frame.function.find("NamesThisFunction"), std::string::npos) << frame.text();
}

TEST_F(ProfileTest, RefusesWhatIsNoProfile) {
  EXPECT_FALSE(advise::ProfileFile::open("/proc/self/exe"));
  EXPECT_FALSE(advise::ProfileFile::open("/nowhere"));
}

}  // namespace
}  // namespace dsm
