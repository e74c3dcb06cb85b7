// How much a recorder keeps: by time, by room, and of blocks.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "insight/recorder.h"

namespace dsm::insight {
namespace {

class Recording : public testing::Test {
 protected:
  Recording() {
    geometry_.nodes = 1;
    geometry_.slice_bytes = std::uint64_t{1} << 30;
    auto recorder = Recorder::open(file_, geometry_, 0, "");
    if (recorder) recorder_ = std::move(*recorder);
  }
  ~Recording() override { std::filesystem::remove(file_); }
  // What the node's part holds.
  std::unique_ptr<NodePart> part() const {
    auto part = std::make_unique<NodePart>();
    std::ifstream in(file_, std::ios::binary);
    in.seekg(sizeof(FileHead));
    in.read(reinterpret_cast<char*>(part.get()), sizeof(NodePart));
    return part;
  }
  // `count` faults of page 1 from `begin_ns` on, one every `each_ns`.
  void faults(int count, std::int64_t begin_ns, std::int64_t each_ns) {
    for (int i = 0; i < count; ++i) {
      recorder_->fault({1, geometry_.address_of(1), true, true, 7, begin_ns + i * each_ns, 10});
    }
  }
  static std::uint64_t weights(const NodePart& part) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < part.samples.load(); ++i) sum += part.sample[i].weight;
    return sum;
  }

  const std::string file_ = testing::TempDir() + "insight-rate-" + std::to_string(::getpid());
  Geometry geometry_;
  std::unique_ptr<Recorder> recorder_;
};

constexpr std::int64_t kRareNs = 2 * kWindowNs / std::int64_t{kWindowSamples};  // half as many as are sampled

TEST_F(Recording, RareFaultsAreAllSampled) {
  ASSERT_NE(recorder_, nullptr);
  faults(100, kWindowNs, kRareNs);
  EXPECT_EQ(part()->samples.load(), 100U);
}

TEST_F(Recording, ManyFaultsAreCountedAndFewSampled) {
  ASSERT_NE(recorder_, nullptr);
  constexpr int kMany = 100'000;
  faults(kMany, kWindowNs, kWindowNs / 1000);  // 100 windows
  const auto recorded = part();
  EXPECT_EQ(recorded->faults.load(), std::uint64_t{kMany});
  EXPECT_GE(recorded->samples.load(), 100 * kWindowSamples / 4);
  EXPECT_LE(recorded->samples.load(), 100 * kWindowSamples * 4);
  EXPECT_NEAR(static_cast<double>(weights(*recorded)), kMany, kMany * 0.2) << "samples stand for all that there were";
}

TEST_F(Recording, AfterABurstRareFaultsAreSampledAgain) {
  ASSERT_NE(recorder_, nullptr);
  faults(10'000, kWindowNs, kWindowNs / 1000);
  const std::uint64_t before = part()->samples.load();
  faults(400, 100 * kWindowNs, kRareNs);
  EXPECT_GE(part()->samples.load() - before, 300U);
}

TEST_F(Recording, WaitsForLocksAreCountedOfTheirPage) {
  ASSERT_NE(recorder_, nullptr);
  recorder_->lock_waited(5, kWindowNs, 300, 7);
  recorder_->lock_waited(5, kWindowNs, 500, 7);
  const auto recorded = part();
  EXPECT_EQ(recorded->lock_waits.load(), 2U);
  EXPECT_EQ(recorded->samples.load(), 2U);
  EXPECT_EQ(recorded->sample[1].what, What::kLockWait);
  for (const PageRecord& record : recorded->page) {
    if (record.key.load() != 6) continue;
    EXPECT_EQ(record.waits.load(), 2U);
    EXPECT_EQ(record.wait_ns.load(), 800U);
  }
}

TEST_F(Recording, SmallBlocksGrowRareAndStandForAll) {
  ASSERT_NE(recorder_, nullptr);
  constexpr std::uint64_t kMany = 200'000;
  for (std::uint64_t i = 1; i <= kMany; ++i) recorder_->allocated(reinterpret_cast<void*>(i * 64), 64, nullptr);
  const auto recorded = part();
  EXPECT_GE(recorded->blocks.load(), kAllBlocks);
  EXPECT_LE(recorded->blocks.load(), kAllBlocks * 12);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < recorded->blocks.load(); ++i) sum += recorded->block[i].weight;
  EXPECT_NEAR(static_cast<double>(sum), kMany, kMany * 0.3);
}

TEST_F(Recording, SaysWhatWasCountedAndBy) {
  ASSERT_NE(recorder_, nullptr);
  recorder_->finish();
  const auto recorded = part();
  const std::string source = recorded->counters_source;
  EXPECT_TRUE(source == "hardware" || source == "software" || source == "none") << source;
  EXPECT_EQ(source == "none", recorded->counted[0].name[0] == '\0' && recorded->counted[5].name[0] == '\0');
}

}  // namespace
}  // namespace dsm::insight
