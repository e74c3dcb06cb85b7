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
                    Case{"one_header", {"wait for each other in a circle", "share 64 bytes", "and waits for"}},
                    Case{"deadlock", {"wait for each other in a circle", "hints_misuse.cpp:", "and waits for"}}),
    [](const auto& info) { return std::string(info.param.name); });

// Where two places are at fault, the callers of both are told, with DSM_CHECK=1.
TEST(Misuse, CallersOfBothPlacesAreTold) {
  Process job({bin("dsmrun"), "-n", "2", "--check", "1", "--", bin("hints_misuse"), "conflict_elsewhere"});
  EXPECT_EQ(job.wait(), 128 + SIGABRT);
  const std::string said = job.err();
  const std::size_t now = said.find("now:"), then = said.find("the earlier borrow:");
  ASSERT_NE(now, std::string::npos) << said;
  ASSERT_NE(then, std::string::npos) << said;
  EXPECT_NE(said.substr(now, then - now).find("main+0x"), std::string::npos) << said;
  EXPECT_NE(said.substr(then).find("main+0x"), std::string::npos) << said;
}

// The same from C, where no guard ends a borrow: it is what longjmp and a thread's exit skip.
class MisuseInC : public testing::TestWithParam<Case> {};

TEST_P(MisuseInC, EndsWithOneClearLine) {
  Process job({bin("dsmrun"), "-n", "2", "--check", "1", "--", bin("hints_c_misuse"), GetParam().name});
  EXPECT_EQ(job.wait(), 128 + SIGABRT) << job.err();
  for (const char* part : GetParam().said)
    EXPECT_NE(job.err().find(part), std::string::npos) << part << "\n" << job.err();
  EXPECT_NE(job.err().find("hints_c_misuse.c:"), std::string::npos) << job.err();
}

INSTANTIATE_TEST_SUITE_P(
    All, MisuseInC,
    testing::Values(Case{"null_pointer", {"a borrow of a null pointer"}},
                    Case{"foreign_pointer", {"not in the global heap"}}, Case{"no_bytes", {"a borrow of no bytes"}},
                    Case{"too_many_bytes", {"more than 64 MiB"}},
                    Case{"second_release", {"a second release of", "it was borrowed at"}},
                    Case{"second_release_of_shared", {"a second release of", "it was borrowed at"}},
                    Case{"release_of_nothing", {"a release of a null pointer"}},
                    Case{"release_of_the_object", {"a release of what this thread has not borrowed"}},
                    Case{"release_elsewhere", {"a release of what this thread has not borrowed"}},
                    Case{"overlap", {"overlaps another borrow", "begun at"}},
                    Case{"conflict", {"a shared borrow of", "would wait for itself"}},
                    Case{"longjmp_and_again", {"a mutable borrow of", "would wait for itself"}},
                    Case{"longjmp_in_thread", {"a thread has ended inside its borrow"}},
                    Case{"thread_exit", {"a thread has ended inside its borrow"}},
                    Case{"longjmp_to_the_end", {"a thread has ended inside its borrow"}},
                    Case{"transfer_to_nobody", {"a transfer to a node that does not exist"}},
                    Case{"transfer_inside", {"a mutable borrow of", "would wait for itself"}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(RawAccessInABorrow, IsFoundByEveryEngine) {
  for (const char* engine : {"uffd-inline", "uffd-thread", "sigsegv"}) {
    if (!dsm::mem::engine_obstacle(engine).empty()) continue;
    Process job({bin("dsmrun"), "-n", "2", "--engine", engine, "--", bin("hints_misuse"), "raw_access"});
    EXPECT_EQ(job.wait(), 128 + SIGABRT) << job.err();
    EXPECT_NE(job.err().find("raw access to"), std::string::npos) << engine << job.err();
  }
}

// --- plain access inside borrows ------------------------------------------------------------------------------------

struct Crosswise {
  const char* name;
  const char* nodes;
  std::vector<const char*> said;
};

std::vector<const char*> engines() {
  std::vector<const char*> all;
  for (const char* engine : {"uffd-inline", "uffd-thread", "sigsegv"}) {
    if (dsm::mem::engine_obstacle(engine).empty()) all.push_back(engine);
  }
  return all;
}

std::size_t times(const std::string& text, const char* part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class InsideABorrow : public testing::TestWithParam<Crosswise> {};

TEST_P(InsideABorrow, CirclesAreNamedByEveryEngine) {
  const auto& [name, nodes, said] = GetParam();
  for (const char* engine : engines()) {
    Process job({bin("dsmrun"), "-n", nodes, "--engine", engine, "--check", "1", "--", bin("hints_crosswise"), name});
    EXPECT_EQ(job.wait(), 128 + SIGABRT) << engine << job.err();
    EXPECT_NE(job.err().find("wait for each other in a circle"), std::string::npos) << engine << job.err();
    EXPECT_EQ(times(job.err(), "its borrow began:"), times(job.err(), " borrowed 0x")) << engine << job.err();
    for (const char* part : said) EXPECT_NE(job.err().find(part), std::string::npos) << part << engine << job.err();
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, InsideABorrow,
    testing::Values(Crosswise{"ring", "2", {"dsm[0] deadlock: thread", "dsm[1] deadlock: thread", "at touch+"}},
                    Crosswise{
                        "ring",
                        "3",
                        {"dsm[0] deadlock: thread", "dsm[1] deadlock: thread", "dsm[2] deadlock: thread", "at touch+"}},
                    Crosswise{"ring_of_reads", "2", {"plain access to", "at look+"}},
                    Crosswise{"threads", "2", {"plain access to", "at touch+"}},
                    Crosswise{"one_page", "2", {"dsm[0] deadlock: thread", "dsm[1] deadlock: thread", "at touch+"}},
                    Crosswise{"mixed", "2", {"plain access to", "and waits for 0x", "at touch+"}},
                    Crosswise{"readers", "2", {"plain access to", "at look+"}},
                    Crosswise{"kept", "2", {"waits for the page of", "and waits for 0x"}}),
    [](const auto& info) { return std::string(info.param.name) + "_of_" + info.param.nodes; });

// Who only seems to wait in a circle gets on, and nothing is lost.
TEST(PlainAccess, OfWhoIsNotInACircleGoesOn) {
  for (const char* engine : engines()) {
    for (const char* name : {"awaited", "awaited_here", "claimed", "claimed_read", "reader_needs_it", "borrows_more",
                             "left_copy", "kept_object"}) {
      Process job({bin("dsmrun"), "-n", "3", "--engine", engine, "--", bin("hints_crosswise"), name});
      EXPECT_EQ(job.wait(), 0) << name << engine << job.out() << job.err();
    }
  }
}

TEST(ObjectCache, KeepsItsBoundAndWhatIsUsedOften) {
  for (const char* check : {"bounded", "standing"}) {
    Process job({bin("dsmrun"), "-n", "2", "--object-cache", "2M", "--", bin("hints_cache_node"), check});
    EXPECT_EQ(job.wait(), 0) << check << "\n" << job.out() << job.err();
  }
}

TEST(Habit, ObjectsStayWithWhoeverAloneChangesThem) {
  for (const char* check : {"alone", "by_turns", "room", "sizes", "neighbours", "neighbour_freed", "several_homes"}) {
    Process job({bin("dsmrun"), "-n", "2", "--emulate", "1000:5000:1000", "--stand-after", "4", "--object-cache", "2M",
                 "--", bin("hints_habit_node"), check});
    EXPECT_EQ(job.wait(), 0) << check << "\n" << job.out() << job.err();
  }
}

TEST(ObjectCache, LosesNothing) {
  for (const char* check : {"held", "latest", "asked", "freed_standing"}) {
    Process job({bin("dsmrun"), "-n", "2", "--", bin("hints_cache_node"), check});
    EXPECT_EQ(job.wait(), 0) << check << "\n" << job.out() << job.err();
  }
}

}  // namespace
