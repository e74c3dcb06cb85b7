// Wrong borrows end the program with one line that says what and where; and the object cache's bound.
#include <gtest/gtest.h>

#include "mem/fault_engine.h"
#include "tests/cluster/launcher_run.h"

namespace {

using dsm::cluster::test::bin;
using dsm::cluster::test::Process;

struct Case {
  const char* name;
  std::vector<const char*> said;  // all of it in one line, for a deadlock in any
};

class Misuse : public testing::TestWithParam<Case> {};

TEST_P(Misuse, EndsWithOneClearLine) {
  Process job({bin("dsmrun"), "-n", "2", "--check", "1", "--", bin("hints_misuse"), GetParam().name});
  EXPECT_EQ(job.wait(), 128 + SIGABRT) << job.err();
  for (const char* part : GetParam().said)
    EXPECT_NE(job.err().find(part), std::string::npos) << part << "\n" << job.err();
}

INSTANTIATE_TEST_SUITE_P(
    All, Misuse,
    testing::Values(Case{"null_pointer", {"null pointer", "hints_misuse.cpp:"}},
                    Case{"foreign_pointer", {"not in the global heap", "hints_misuse.cpp:"}},
                    Case{"never_allocated", {"never allocated", "hints_misuse.cpp:"}},
                    Case{"never_allocated_elsewhere", {"never allocated", "hints_misuse.cpp:"}},
                    Case{"conflict_at_home", {"a mutable borrow of", "hints_misuse.cpp:", "would wait for itself"}},
                    Case{"conflict_elsewhere", {"a mutable borrow of", "hints_misuse.cpp:", "would wait for itself"}},
                    Case{"shared_in_mutable", {"a shared borrow of", "hints_misuse.cpp:", "would wait for itself"}},
                    Case{"raw_access", {"raw access to", "own mutable borrow", "hints_misuse.cpp:"}},
                    Case{"second_release", {"a second release of", "hints_misuse.cpp:", "it was borrowed"}},
                    Case{"moved_owner", {"moved from", "hints_misuse.cpp:"}},
                    Case{"moved_inside", {"an owner is moved inside the mutable borrow", "hints_misuse.cpp:"}},
                    Case{"transferred", {"moved from", "hints_misuse.cpp:"}},
                    Case{"thread_exit", {"a thread has ended inside its borrow", "hints_misuse.cpp:"}},
                    Case{"overlap", {"overlaps another borrow", "hints_misuse.cpp:"}},
                    Case{"deadlock", {"wait for each other in a circle", "hints_misuse.cpp:", "and waits for"}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(RawAccessInABorrow, IsFoundByEveryEngine) {
  for (const char* engine : {"uffd-inline", "uffd-thread", "sigsegv"}) {
    if (!dsm::mem::engine_obstacle(engine).empty()) continue;
    Process job({bin("dsmrun"), "-n", "2", "--engine", engine, "--", bin("hints_misuse"), "raw_access"});
    EXPECT_EQ(job.wait(), 128 + SIGABRT) << job.err();
    EXPECT_NE(job.err().find("raw access to"), std::string::npos) << engine << job.err();
  }
}

TEST(ObjectCache, KeepsItsBoundAndWhatIsUsedOften) {
  Process job({bin("dsmrun"), "-n", "2", "--object-cache", "2M", "--", bin("hints_cache_node"), "bounded"});
  EXPECT_EQ(job.wait(), 0) << job.out() << job.err();
}

}  // namespace
