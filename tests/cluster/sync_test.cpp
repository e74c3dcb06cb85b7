// Runs sync_program's tests as jobs of several nodes, and sync_misuse's as children that have to be told off.
#include <gtest/gtest.h>

#include <csignal>
#include <string>
#include <tuple>
#include <vector>

#include "tests/cluster/launcher_run.h"

namespace dsm {
namespace {

using cluster::test::bin;
using cluster::test::Process;

// Also where nodes keep locks for a while (--auto).
class SyncJob : public testing::TestWithParam<std::tuple<const char*, bool>> {};

TEST_P(SyncJob, Runs) {
  const auto [test, automatic] = GetParam();
  std::vector<std::string> words{bin("dsmrun"), "-n", "4"};
  if (automatic) words.emplace_back("--auto");
  words.insert(words.end(), {"--", bin("sync_program"), test});
  Process job(words);
  EXPECT_EQ(job.wait(), 0) << job.out() << job.err();
  std::printf("%s", job.out().c_str());
}

std::string name_of(const testing::TestParamInfo<SyncJob::ParamType>& test) {
  return std::string(std::get<0>(test.param)) + (std::get<1>(test.param) ? "_auto" : "");
}

INSTANTIATE_TEST_SUITE_P(All, SyncJob,
                         testing::Combine(testing::Values("exact_count", "fair", "try_lock", "readers_together",
                                                          "writers_alone", "queue", "timeout", "phases", "bound",
                                                          "once"),
                                          testing::Bool()),
                         name_of);

TEST(SyncWrongJob, ANodeThatDoesNotHoldTheLockUnlocksIt) {
  Process job({bin("dsmrun"), "-n", "2", "--", bin("sync_program"), "foreign_unlock"});
  EXPECT_NE(job.wait(), 0);
  EXPECT_NE(job.err().find("unlock() by a thread that does not hold it"), std::string::npos) << job.out() << job.err();
}

struct Wrong {
  const char* name;
  const char* line;  // a part of what is said
};

class SyncMisuse : public testing::TestWithParam<Wrong> {};

TEST_P(SyncMisuse, EndsWithALine) {
  Process program({bin("sync_misuse"), GetParam().name});
  EXPECT_EQ(program.wait(), 128 + SIGABRT) << program.out() << program.err();
  EXPECT_NE(program.err().find(GetParam().line), std::string::npos) << program.err();
}

INSTANTIATE_TEST_SUITE_P(
    All, SyncMisuse,
    testing::Values(Wrong{"not_started", "before dsm::start()"}, Wrong{"outside_the_heap", "outside the global heap"},
                    Wrong{"copied", "dsm::mutex at"}, Wrong{"never_constructed", "never constructed"},
                    Wrong{"destroyed", "used after its destruction"},
                    Wrong{"destroyed_twice", "used after its destruction"},
                    Wrong{"destroyed_held", "destroyed while a thread of this node holds it"},
                    Wrong{"destroyed_waited_on", "destroyed while threads wait on it"},
                    Wrong{"unlocked_unheld", "unlock() by a thread that does not hold it"},
                    Wrong{"unlocked_shared_unheld", "unlock_shared() on a node where no thread holds it"},
                    Wrong{"unlocked_by_another_thread", "unlock() by a thread that does not hold it"},
                    Wrong{"locked_twice", "locked by a thread that holds it already"},
                    Wrong{"waited_unlocked", "wait with a lock that does not hold its mutex"},
                    Wrong{"no_parties", "a barrier for no threads"},
                    Wrong{"negative_initial", "a negative initial count"},
                    Wrong{"negative_release", "release() with a negative count"}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace dsm
