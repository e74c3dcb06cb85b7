// The rules by which a page's pattern is told, on what nodes would have been seen to do.
#include <gtest/gtest.h>

#include "advise/advice.h"
#include "advise/classify.h"

namespace dsm::advise {
namespace {

constexpr std::uint64_t granule(unsigned number) { return std::uint64_t{1} << number; }

NodeUse use_of(NodeId node, std::uint64_t reads, std::uint64_t writes, std::uint64_t invalidated) {
  NodeUse use;
  use.node = node;
  use.reads = reads;
  use.writes = writes;
  use.invalidated = invalidated;
  use.fault_ns = (reads + writes) * 1000;
  return use;
}

TEST(Classify, PrivateIfOneNodeTouchesIt) {
  NodeUse use = use_of(1, 3, 5, 0);
  use.granules_written = granule(0) | granule(9);
  EXPECT_EQ(classify({7, {use}}), Pattern::kPrivate);
}

TEST(Classify, ReadMostlyIfWritesAreRare) {
  NodeUse writer = use_of(0, 0, 10, 10);
  writer.granules_written = granule(3);
  NodeUse one = use_of(1, 80, 0, 80), other = use_of(2, 90, 0, 90);
  one.granules_read = other.granules_read = granule(3);
  EXPECT_EQ(classify({7, {writer, one, other}}), Pattern::kReadMostly);
}

TEST(Classify, ReadMostlyIfItIsFilledOnceAndThenRead) {
  NodeUse writer = use_of(0, 0, 1, 1);
  writer.granules_written = granule(0);
  NodeUse reader = use_of(1, 1, 0, 0);
  reader.granules_read = granule(0);
  EXPECT_EQ(classify({7, {writer, reader}}), Pattern::kReadMostly);
}

TEST(Classify, ProducerConsumerIfOneWritesWhatAnotherReads) {
  NodeUse writer = use_of(0, 0, 50, 50);
  writer.granules_written = granule(0) | granule(1);
  NodeUse reader = use_of(1, 50, 0, 50);
  reader.granules_read = granule(0);
  EXPECT_EQ(classify({7, {writer, reader}}), Pattern::kProducerConsumer);
}

TEST(Classify, MigratoryIfOneObjectIsReadAndWrittenByAll) {
  NodeUse one = use_of(0, 50, 50, 50), other = use_of(1, 50, 50, 50);
  for (NodeUse* use : {&one, &other}) use->granules_read = use->granules_written = granule(5);
  EXPECT_EQ(classify({7, {one, other}}), Pattern::kMigratory);
}

TEST(Classify, WriteSharedIfManyObjectsAreWrittenByAll) {
  NodeUse one = use_of(0, 0, 500, 400), other = use_of(1, 0, 500, 400);
  one.granules_written = 0xffff'ffff;
  other.granules_written = 0xffff'fff0;
  EXPECT_EQ(classify({7, {one, other}}), Pattern::kWriteShared);
}

TEST(Classify, FalseSharingIfNobodyTouchesWhatAnotherWrites) {
  NodeUse one = use_of(0, 0, 500, 400), other = use_of(1, 0, 500, 400);
  one.granules_written = 0x5555'5555'5555'5555;
  other.granules_written = 0xaaaa'aaaa'aaaa'aaaa;
  EXPECT_EQ(classify({7, {one, other}}), Pattern::kFalseSharing);
}

TEST(Classify, FalseSharingAlsoIfTheOtherOnlyReads) {
  NodeUse writer = use_of(0, 0, 500, 400), reader = use_of(1, 500, 0, 400);
  writer.granules_written = granule(0);
  reader.granules_read = granule(40);
  EXPECT_EQ(classify({7, {writer, reader}}), Pattern::kFalseSharing);
}

TEST(Classify, FalseSharingIfOneGranuleInManyIsTwoObjects) {
  NodeUse one = use_of(0, 0, 500, 400), other = use_of(1, 0, 500, 400);
  one.granules_written = 0x0000'0000'ffff'ffff;
  other.granules_written = 0xffff'ffff'8000'0000;
  EXPECT_EQ(classify({7, {one, other}}), Pattern::kFalseSharing);
}

TEST(Classify, LockProtectedIfMostFaultsWereUnderALock) {
  NodeUse one = use_of(0, 100, 100, 90), other = use_of(1, 100, 100, 90);
  one.granules_written = other.granules_written = 0xff;
  one.locked = other.locked = 150;
  EXPECT_EQ(classify({7, {one, other}}), Pattern::kLockProtected);
}

TEST(Classify, StreamingIfFaultsGoOnWhereOthersLeftOff) {
  NodeUse use = use_of(1, 1, 0, 0);
  use.streamed = 1;
  NodeUse filler = use_of(0, 0, 1, 1);
  EXPECT_EQ(classify({7, {filler, use}}), Pattern::kStreaming);
}

TEST(Vote, GoesByCostAndNotByPages) {
  Vote vote;
  for (int page = 0; page < 100; ++page) vote.add(Pattern::kPrivate, 10);
  vote.add(Pattern::kFalseSharing, 1'000'000);
  EXPECT_EQ(vote.winner(), Pattern::kFalseSharing);
  EXPECT_GT(vote.share(), 0.99);
}

TEST(Vote, PagesThatStayedHomeDoNotTellHowTheOthersAreShared) {
  NodeUse filler = use_of(0, 0, 1, 0), far = use_of(1, 1, 0, 0), reader = far;
  filler.fault_ns = 1'000'000'000;  // its thread lost the CPU meanwhile
  reader.streamed = 1;
  Vote vote;
  vote.add({7, {filler}}, 0);
  EXPECT_EQ(vote.winner(), Pattern::kPrivate);
  EXPECT_EQ(vote.share(), 1);
  vote.add({8, {use_of(0, 0, 1, 1), reader}}, 0);
  EXPECT_EQ(vote.winner(), Pattern::kStreaming);
  EXPECT_EQ(vote.share(), 1);
  far.fault_ns = 1'000'000'000;  // came to the only node that uses it
  vote.add({9, {far}}, 0);
  EXPECT_EQ(vote.winner(), Pattern::kPrivate);
}

TEST(HintFor, FollowsThePattern) {
  EXPECT_EQ(hint_for(Pattern::kFalseSharing, true), Hint::kBorrowMut);
  EXPECT_EQ(hint_for(Pattern::kReadMostly, true), Hint::kBorrowShared);
  EXPECT_EQ(hint_for(Pattern::kReadMostly, false), Hint::kPrefetch);
  EXPECT_EQ(hint_for(Pattern::kPrivate, false), Hint::kPlacement);
}

TEST(CostWith, GrowsWithTheNetwork) {
  const double here = cost_with(Hint::kBorrowMut, 1000, 0, network_of(""));
  const double rdma = cost_with(Hint::kBorrowMut, 1000, 0, network_of("rdma"));
  const double own = cost_with(Hint::kBorrowMut, 1000, 0, network_of("2000:5000:2500"));
  EXPECT_LT(here, rdma);
  EXPECT_DOUBLE_EQ(rdma, own);
}

}  // namespace
}  // namespace dsm::advise
