// What a plan makes of profiles that are known by construction: two or three nodes' records, written in this process.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "advise/plan.h"
#include "base/clock.h"
#include "insight/recorder.h"

namespace dsm::advise {
namespace {

using insight::Serve;

// Calls that may be told apart: addresses in this program.
const std::byte* call(int number) { return reinterpret_cast<const std::byte*>(&plan_of) + number * 16; }

class PlanTest : public testing::Test {
 protected:
  explicit PlanTest(unsigned nodes = 3) {
    geometry_.slice_bytes = 16 * kChunkBytes;
    geometry_.interleaved_bytes = 16 * kChunkBytes;
    geometry_.nodes = nodes;
    for (unsigned node = 0; node < nodes; ++node) {
      recorders_.push_back(std::move(*insight::Recorder::open(name_, geometry_, static_cast<NodeId>(node), "")));
    }
  }
  ~PlanTest() override { std::filesystem::remove(name_); }

  std::uint64_t address(PageId page, std::uint64_t offset = 0) const { return geometry_.address_of(page) + offset; }
  void block(int site, std::uint64_t begin, std::size_t bytes) {
    recorders_[0]->allocated(reinterpret_cast<void*>(begin), bytes, call(site));
  }
  void fault(unsigned node, std::uint64_t at, bool write, int times = 20) {
    const PageId page = geometry_.page_of(at);
    for (int i = 0; i < times; ++i) recorders_[node]->fault({page, at, write, false, 1, now_ns(), 1000});
    if (write) recorders_[node]->invalidated({page, 1});
  }
  // Nodes 0 and 1 write granules of their own of a page.
  void fight(PageId page, std::uint64_t first, std::uint64_t second) {
    for (unsigned round = 0; round < 4; ++round) {
      fault(0, address(page, first), true);
      fault(1, address(page, second), true);
    }
  }
  Plan plan() {
    for (auto& recorder : recorders_) recorder->finish();
    return plan_of(**ProfileFile::open(name_));
  }

  Geometry geometry_;
  const std::string name_ = std::filesystem::temp_directory_path() / ("plan-" + std::to_string(::getpid()));
  std::vector<std::unique_ptr<insight::Recorder>> recorders_;
};

TEST_F(PlanTest, BlocksThatShareAPageFalselyAreServedApart) {
  for (std::uint64_t i = 0; i < 4; ++i) block(1, address(5, i * 64), 64);
  block(2, address(9), 64);
  fight(5, 0, 64);
  fault(1, address(9), false);
  const Plan made = plan();
  ASSERT_EQ(made.sites.size(), 1U);
  EXPECT_EQ(made.sites[0].mark.serving.how, Serve::kApart);
  EXPECT_EQ(made.sites[0].pages, 1U);
  EXPECT_EQ(made.sites[0].faults, 160U);
  EXPECT_EQ(made.sites[0].mark.offset, reinterpret_cast<std::uint64_t>(call(1)) - loaded_modules()[0].bias);
  EXPECT_EQ(made.sites[0].mark.id, build_id_of_file("/proc/self/exe"));
}

TEST_F(PlanTest, TwoSitesThatShareAPageAreBothServedApart) {
  block(1, address(5), 64);
  block(2, address(5, 64), 64);
  fight(5, 0, 64);
  EXPECT_EQ(plan().sites.size(), 2U);
}

TEST_F(PlanTest, OneBlockThatIsSharedFalselyIsLeftAlone) {
  block(1, address(5), 2 * kPageBytes);
  fight(5, 0, 64);
  fight(6, 128, 1024);
  EXPECT_TRUE(plan().sites.empty()) << "no allocation can part the elements of an array";
}

TEST_F(PlanTest, BlocksThatTheSameNodesWriteAreLeftAlone) {
  for (std::uint64_t i = 0; i < 4; ++i) block(1, address(5, i * 64), 64);
  for (const std::uint64_t at : {0U, 64U, 128U, 192U}) fight(5, at, at);
  EXPECT_TRUE(plan().sites.empty());
}

TEST_F(PlanTest, BlocksThatOneOtherNodeWritesArePlacedThere) {
  for (PageId page = 8; page < 16; page += 2) block(1, address(page), 2 * kPageBytes);
  for (PageId page = 8; page < 16; ++page) fault(2, address(page), true, 3);
  const Plan made = plan();
  ASSERT_EQ(made.sites.size(), 1U);
  EXPECT_EQ(made.sites[0].mark.serving.how, Serve::kNode);
  EXPECT_EQ(made.sites[0].mark.serving.node, 2);
}

TEST_F(PlanTest, WhatIsOnlyReadElsewhereStays) {
  block(1, address(8), 8 * kPageBytes);
  for (PageId page = 8; page < 16; ++page) fault(2, address(page), false, 3);
  EXPECT_TRUE(plan().sites.empty()) << "somebody has written it, who had it at home";
}

TEST_F(PlanTest, WhatItsHomeUsesTooStays) {
  block(1, address(8), 8 * kPageBytes);
  for (PageId page = 8; page < 16; ++page) {
    fault(2, address(page), true, 3);
    fault(0, address(page), false, 3);
  }
  EXPECT_TRUE(plan().sites.empty());
}

TEST_F(PlanTest, SmallBlocksStayWhereTheyAre) {
  for (std::uint64_t i = 0; i < 64; ++i) block(1, address(8, i * 64), 64);
  fault(2, address(8), true);
  EXPECT_TRUE(plan().sites.empty()) << "a message for each would cost more";
}

TEST_F(PlanTest, WhatAllUseAlikeIsSpread) {
  block(1, address(64), 64 * kPageBytes);
  for (PageId page = 64; page < 128; ++page) {
    for (unsigned node = 0; node < 3; ++node) fault(node, address(page), true, 1);
  }
  const Plan made = plan();
  ASSERT_EQ(made.sites.size(), 1U);
  EXPECT_EQ(made.sites[0].mark.serving.how, Serve::kSpread);
}

TEST_F(PlanTest, ASiteWithFewFaultsIsLeftAlone) {
  block(1, address(8), kPageBytes);
  fault(2, address(8), true, 3);
  EXPECT_TRUE(plan().sites.empty());
}

TEST_F(PlanTest, PlacesAreForAsManyNodesOnly) {
  for (std::uint64_t i = 0; i < 4; ++i) block(1, address(5, i * 64), 64);
  fight(5, 0, 64);
  block(2, address(8), 8 * kPageBytes);
  for (PageId page = 8; page < 16; ++page) fault(2, address(page), true, 3);
  ASSERT_EQ(plan().sites.size(), 2U);
  const auto here = insight::parse_marks(*marks_for({name_, "/proc/self/exe", 3}));
  const auto elsewhere = insight::parse_marks(*marks_for({name_, "/proc/self/exe", 4}));
  EXPECT_EQ(here->size(), 2U);
  ASSERT_EQ(elsewhere->size(), 1U);
  EXPECT_EQ(elsewhere->front().serving.how, Serve::kApart);
  const auto foreign = marks_for({name_, "/bin/sh", 3});
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().find("another program"), std::string::npos);
}

}  // namespace
}  // namespace dsm::advise
