// DSM_CHECK=1: a call that names no block in use ends the program with one line, on the node that has called; and what
// calls after finish() do.
#include <gtest/gtest.h>

#include "tests/cluster/launcher_run.h"

namespace {

using dsm::cluster::test::bin;
using dsm::cluster::test::Process;

std::vector<std::string> job(const std::vector<std::string>& options, const char* name) {
  std::vector<std::string> words{bin("dsmrun")};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {"--", bin("api_misuse"), name});
  return words;
}

struct Case {
  const char* name;
  std::vector<const char*> said;
};

void expect_said(const std::vector<std::string>& options, const Case& one) {
  std::vector<std::string> checked = options;
  checked.insert(checked.end(), {"--check", "1"});
  Process run(job(checked, one.name));
  EXPECT_EQ(run.wait(), 128 + SIGABRT) << run.err();
  for (const char* part : one.said) EXPECT_NE(run.err().find(part), std::string::npos) << part << "\n" << run.err();
}

constexpr const char* kFreedBy1 = "has been freed already, by node 1; the program ends";
constexpr const char* kInside16 = "no block begins here, 16 bytes inside one; the program ends";
constexpr const char* kInside4096 = "no block begins here, 4096 bytes inside one; the program ends";
constexpr const char* kNoBlock = "no block of the heap begins here; the program ends";

class Misused : public testing::TestWithParam<Case> {};
TEST_P(Misused, OnOneNode) { expect_said({"-n", "1"}, GetParam()); }
TEST_P(Misused, OnTwo) { expect_said({"-n", "2"}, GetParam()); }
TEST_P(Misused, OverMemoryNodes) {
  expect_said({"-n", "1", "--memory-nodes", "1", "--local-memory", "8M"}, GetParam());
}

// On two nodes each misuses a block of its own.
INSTANTIATE_TEST_SUITE_P(
    Block, Misused,
    testing::Values(Case{"twice", {"heap: free(0x", "has been freed already, by node ", "now:", "freed before:"}},
                    Case{"twice_large", {"heap: free(0x", "has been freed already, by node ", "freed before:"}},
                    Case{"twice_aligned", {"heap: free(0x", "has been freed already, by node "}},
                    Case{"twice_interleaved", {"heap: free(0x", "has been freed already, by node "}},
                    Case{"inside", {"heap: free(0x", kInside16}}, Case{"inside_large", {"heap: free(0x", kInside4096}},
                    Case{"inside_interleaved", {"heap: free(0x", "65536 bytes inside one"}},
                    Case{"nothing", {"heap: free(0x", kNoBlock}},
                    Case{"moved_by_realloc", {"heap: free(0x", "has been freed already, by node "}},
                    Case{"realloc_after_free", {"heap: realloc(0x", "has been freed already, by node "}},
                    Case{"size_after_free", {"heap: usable_size(0x", "has been freed already, by node "}},
                    Case{"other_thread", {"heap: free(0x", "has been freed already, by node ", "freed before:"}},
                    Case{"owned_freed", {"heap: free(0x", "has been freed already, by node ", "freed before:"}},
                    Case{"freed_in_borrow", {"a free of 0x", "has borrowed what is in the block", "api_misuse.cpp:"}},
                    Case{"owned_freed_in_borrow", {"a free of 0x", "has borrowed what is in the block"}},
                    Case{"borrowed_after_free", {"a borrow of what is in no block", "api_misuse.cpp:"}},
                    Case{"changed_after_free", {"a borrow of what is in no block", "api_misuse.cpp:"}}),
    [](const auto& info) { return std::string(info.param.name); });

class MisusedElsewhere : public testing::TestWithParam<Case> {};
TEST_P(MisusedElsewhere, IsTold) { expect_said({"-n", "2"}, GetParam()); }
TEST_P(MisusedElsewhere, IsToldOverMemoryNodes) {
  expect_said({"-n", "2", "--memory-nodes", "1", "--local-memory", "8M"}, GetParam());
}
INSTANTIATE_TEST_SUITE_P(Block, MisusedElsewhere,
                         testing::Values(Case{"remote_twice", {"dsm[1] heap: free(0x", kFreedBy1, "freed before:"}},
                                         Case{"remote_twice_large",
                                              {"dsm[1] heap: free(0x", kFreedBy1, "freed before:"}},
                                         Case{"remote_inside", {"dsm[1] heap: free(0x", kInside16}},
                                         Case{"remote_inside_large", {"dsm[1] heap: free(0x", kInside4096}},
                                         Case{"remote_interleaved", {"dsm[1] heap: free(0x", kFreedBy1}},
                                         Case{"remote_realloc", {"dsm[1] heap: realloc(0x", kFreedBy1}},
                                         Case{"both_free", {"dsm[0] heap: free(0x", kFreedBy1}},
                                         Case{"allocated_there", {"dsm[1] heap: free(0x", kFreedBy1}}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Checked, WhatIsRightGoesOn) {
  for (const std::vector<std::string>& options : std::vector<std::vector<std::string>>{
           {"-n", "1"}, {"-n", "3"}, {"-n", "1", "--memory-nodes", "1", "--local-memory", "8M"}}) {
    std::vector<std::string> checked = options;
    checked.insert(checked.end(), {"--check", "1"});
    Process run(job(checked, "right"));
    EXPECT_EQ(run.wait(), 0) << run.out() << run.err();
    EXPECT_EQ(run.err().find("heap"), std::string::npos) << run.err();
  }
}

TEST(AfterFinish, NothingIsAllocatedAndNoJobJoined) {
  for (const char* check : {"0", "1"}) {
    Process run(job({"-n", "2", "--check", check}, "finished"));
    EXPECT_EQ(run.wait(), 0) << run.out() << run.err();
    EXPECT_NE(run.err().find("dsm::start() after dsm::finish()"), std::string::npos) << run.err();
  }
}

TEST(AfterFinish, WhatNeedsTheNodeEndsTheProgram) {
  for (const char* name : {"prefetched_after_finish", "asked_after_finish"}) {
    Process run(job({"-n", "1"}, name));
    EXPECT_EQ(run.wait(), 128 + SIGABRT) << run.err();
    EXPECT_NE(run.err().find("libdsm was used after dsm::finish()"), std::string::npos) << run.err();
  }
}

}  // namespace
