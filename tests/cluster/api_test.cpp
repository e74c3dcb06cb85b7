// The arguments of <dsm/dsm.h> in a job of this process alone, and the C interface on several nodes.
#include <dsm/dsm.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>

#include "tests/cluster/launcher_run.h"

namespace {

class Api : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_FALSE(dsm::start()); }
};

constexpr std::size_t kHuge = std::numeric_limits<std::size_t>::max();

TEST_F(Api, StartsOnce) {
  EXPECT_FALSE(dsm::start());
  EXPECT_EQ(dsm::node(), 0U);
  EXPECT_EQ(dsm::nodes(), 1U);
}

TEST_F(Api, RefusesToAllocateWhatMakesNoSense) {
  EXPECT_EQ(dsm::alloc(8, 24), nullptr) << "no power of two";
  EXPECT_EQ(dsm::alloc(8, 0, dsm::on_node(1)), nullptr) << "no such node";
  EXPECT_EQ(dsm::alloc(8, 0, dsm::on_node(256)), nullptr);
  EXPECT_EQ(dsm::alloc(kHuge), nullptr);
  EXPECT_EQ(dsm::alloc(kHuge, 0, dsm::interleaved), nullptr);
  EXPECT_EQ(dsm::alloc_collective(kHuge), nullptr);
  EXPECT_EQ(dsm::alloc_collective(8, dsm::on_node(1)), nullptr);
}

TEST_F(Api, AllocatesWhereItIsTold) {
  for (const dsm::placement where : {dsm::local, dsm::on_node(0), dsm::interleaved}) {
    void* block = dsm::alloc(100, 256, where);
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 256, 0U);
    EXPECT_EQ(dsm::home(block), 0U);
    EXPECT_GE(dsm::usable_size(block), 100U);
    std::memset(block, 1, 100);
    dsm::free(block);
  }
  int local = 0;
  EXPECT_EQ(dsm::home(&local), 1U) << "not in the global range";
  EXPECT_EQ(dsm::home(nullptr), 1U);
}

TEST_F(Api, AllocatesNothingUniquely) {
  void* one = dsm::alloc(0);
  void* other = dsm::alloc(0);
  ASSERT_NE(one, nullptr);
  EXPECT_NE(one, other);
  dsm::free(one);
  dsm::free(other);
  dsm::free(nullptr);
  EXPECT_EQ(dsm::usable_size(nullptr), 0U);
}

TEST_F(Api, ReallocatesAsReallocDoes) {
  auto* text = static_cast<char*>(dsm::realloc(nullptr, 8));
  ASSERT_NE(text, nullptr);
  std::strcpy(text, "abcdefg");
  text = static_cast<char*>(dsm::realloc(text, 1 << 20));
  ASSERT_NE(text, nullptr);
  EXPECT_STREQ(text, "abcdefg");
  EXPECT_EQ(dsm::realloc(text, kHuge), nullptr);
  EXPECT_STREQ(text, "abcdefg");
  dsm::free(text);
}

TEST_F(Api, AllocatesCollectivelyZeroed) {
  for (const dsm::placement where : {dsm::interleaved, dsm::local, dsm::on_node(0)}) {
    auto* bytes = static_cast<unsigned char*>(dsm::alloc_collective(10000, where));
    ASSERT_NE(bytes, nullptr);
    for (int i = 0; i < 10000; ++i) ASSERT_EQ(bytes[i], 0);
    std::memset(bytes, 1, 10000);
    dsm::free(bytes);
  }
}

TEST_F(Api, FindsRootsByName) {
  int here = 0;
  EXPECT_EQ(dsm::publish("", &here), std::errc::invalid_argument);
  EXPECT_EQ(dsm::publish(std::string(dsm::max_root_name + 1, 'x'), &here), std::errc::invalid_argument);
  const std::string longest(dsm::max_root_name, 'x');
  EXPECT_EQ(dsm::lookup(longest, std::chrono::milliseconds{0}), nullptr);
  EXPECT_EQ(dsm::lookup(longest, std::chrono::milliseconds{5}), nullptr);
  EXPECT_FALSE(dsm::publish(longest, &here));
  EXPECT_EQ(dsm::lookup(longest), &here);
  EXPECT_FALSE(dsm::publish(longest, &here + 1));
  EXPECT_EQ(dsm::lookup(longest), &here + 1);
}

TEST_F(Api, RefusesHintsForOtherMemory) {
  auto* block = static_cast<char*>(dsm::alloc(100));
  int local = 0;
  EXPECT_EQ(dsm::prefetch(&local, sizeof local), std::errc::invalid_argument);
  EXPECT_EQ(dsm::release(nullptr, 1), std::errc::invalid_argument);
  EXPECT_EQ(dsm::release(block, kHuge), std::errc::invalid_argument);
  EXPECT_EQ(dsm::transfer(block, 100, 1), std::errc::invalid_argument) << "no such node";
  EXPECT_FALSE(dsm::prefetch(block, 0));
  EXPECT_FALSE(dsm::prefetch(block, 100, dsm::access::write));
  EXPECT_FALSE(dsm::release(block, 100));
  EXPECT_FALSE(dsm::transfer(block, 100, 0));
  std::memset(block, 1, 100);
  dsm::free(block);
}

TEST(CApi, WorksOnSeveralNodes) {
  using dsm::cluster::test::bin;
  dsm::cluster::test::Process job({bin("dsmrun"), "-n", "3", "--", bin("capi_program")});
  EXPECT_EQ(job.wait(), 0) << job.out() << job.err();
}

}  // namespace
