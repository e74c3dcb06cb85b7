// Every check of placed_node in every engine as kObjectJobs has it; and what wrong use ends with.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "mem/fault_engine.h"
#include "tests/cluster/launcher_run.h"

namespace {

using dsm::cluster::test::bin;
using dsm::cluster::test::Process;

std::string name_of(std::string text) {
  for (char& c : text) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return text;
}

struct Check {
  const char* program;
  const char* name;
};

class Placed : public testing::TestWithParam<std::tuple<const char*, Check>> {};

TEST_P(Placed, IsRight) {
  const auto [engine, check] = GetParam();
  const std::string obstacle = dsm::mem::engine_obstacle(engine);
  if (!obstacle.empty()) GTEST_SKIP() << engine << " cannot run here: " << obstacle;
  auto jobs = dsm::cluster::test::kObjectJobs;
  if (std::string(check.program) == "placed_node") jobs.push_back(dsm::cluster::test::kLentJob);
  for (const auto& options : jobs) {
    Process job(dsm::cluster::test::object_job(options, engine, check.program, check.name));
    EXPECT_EQ(job.wait(), 0) << testing::PrintToString(options) << "\n" << job.out() << job.err();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Engines, Placed,
    testing::Combine(
        testing::Values("uffd-inline", "uffd-thread", "sigsegv"),
        testing::Values(Check{"placed_node", "guarded"}, Check{"placed_node", "guarded_and_plain"},
                        Check{"placed_node", "atomics"}, Check{"placed_node", "atomics_and_plain"},
                        Check{"placed_calls_node", "results"}, Check{"placed_calls_node", "functions"},
                        Check{"placed_calls_node", "beside_a_borrow"}, Check{"placed_calls_node", "posted"},
                        Check{"placed_calls_node", "in_order"}, Check{"placed_calls_node", "held"},
                        Check{"placed_calls_node", "mixed"}, Check{"placed_calls_node", "thread_end"},
                        Check{"placed_work_node", "values"}, Check{"placed_work_node", "owners"},
                        Check{"placed_work_node", "blocking"}, Check{"placed_work_node", "many"},
                        Check{"placed_work_node", "failures"}, Check{"placed_work_node", "streams"},
                        Check{"placed_work_node", "owned_values"}, Check{"placed_containers_node", "vectors"},
                        Check{"placed_containers_node", "ends_of_vectors"}, Check{"placed_containers_node", "strings"},
                        Check{"placed_containers_node", "chains"}, Check{"placed_containers_node", "shared_chains"},
                        Check{"placed_containers_node", "maps"}, Check{"placed_containers_node", "arrays"},
                        Check{"placed_containers_node", "no_leaks"})),
    [](const auto& info) {
      return name_of(std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param).name);
    });

TEST(PlacedWork, EndsWithTheNodeThatDies) {
  Process job({bin("dsmrun"), "-n", "3", "--", bin("placed_work_node"), "killed"});
  job.wait_for("pid ");
  const std::vector<pid_t> last = dsm::cluster::test::numbers_after(job.out(), "pid ");
  ASSERT_EQ(last.size(), 1U);
  ::kill(last[0], SIGKILL);
  EXPECT_EQ(job.wait(), 128 + SIGKILL) << job.err();
  EXPECT_NE(job.err().find("node 2 (pid "), std::string::npos) << job.err();
}

// Nodes of two programs: one that has none of this, and one that has it at other places.
TEST(PlacedWork, GoesToNodesOfTheSameProgramOnly) {
  for (const Check other : {Check{"hints_node", "values"}, Check{"placed_calls_node", "results"}}) {
    const std::string first = testing::TempDir() + "first." + std::to_string(::getpid());
    const std::string script = "if mkdir " + first + "; then exec " + bin("placed_work_node") + " values; else exec " +
                               bin(other.program) + " " + other.name + "; fi";
    Process job({bin("dsmrun"), "-n", "2", "--", "sh", "-c", script});
    job.wait();
    ::rmdir(first.c_str());
    EXPECT_TRUE(job.err().find("runs another program than") != std::string::npos) << other.program << "\n" << job.err();
  }
}

struct Case {
  const char* name;
  std::vector<const char*> said;
  std::vector<std::string> job{"-n", "2"};
};

constexpr const char* kInCall = "inside a function that call_at runs";
constexpr const char* kOwnBorrow = "that call waits for the same thread's borrow of the object";

class PlacedMisuse : public testing::TestWithParam<Case> {};

TEST_P(PlacedMisuse, EndsWithOneClearLine) {
  std::vector<std::string> command{bin("dsmrun")};
  command.insert(command.end(), GetParam().job.begin(), GetParam().job.end());
  command.insert(command.end(), {"--", bin("placed_misuse"), GetParam().name});
  Process job(command);
  EXPECT_EQ(job.wait(), 128 + SIGABRT) << job.err();
  for (const char* part : GetParam().said)
    EXPECT_NE(job.err().find(part), std::string::npos) << part << "\n" << job.err();
}

// A call within a call is no less wrong where all objects are at home.
TEST(PlacedMisuseAlone, EndsOnOneNodeToo) {
  for (const char* name : {"waits_in_call_here", "reads_in_call", "flushes_while_held_here"}) {
    Process job({bin("dsmrun"), "-n", "1", "--", bin("placed_misuse"), name});
    EXPECT_EQ(job.wait(), 128 + SIGABRT) << name << "\n" << job.err();
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, PlacedMisuse,
    testing::Values(Case{"locked_twice", {"a mutable borrow of", "placed_misuse.cpp:", "would wait for itself"}},
                    Case{"guarded_on_stack", {"not in the global heap", "placed_misuse.cpp:"}},
                    Case{"waits_in_call", {"call_at inside a function that call_at runs"}},
                    Case{"posts_in_call", {"call_at_async inside a function that call_at runs"}},
                    Case{"waits_in_call_here", {"call_at inside a function that call_at runs", "called by"}},
                    Case{"reads_in_call", {"a borrow at ", "placed_misuse.cpp:", kInCall}},
                    Case{"locks_in_posted_call", {"a borrow at ", "placed_misuse.cpp:", kInCall}},
                    Case{"locks_its_own_in_call", {"a borrow at ", "placed_misuse.cpp:", kInCall}},
                    Case{"flushes_while_held", {"flush() waits", "placed_misuse.cpp:", kOwnBorrow}},
                    Case{"flushes_while_held_here", {"flush() waits", "placed_misuse.cpp:", kOwnBorrow}},
                    Case{"flushes_what_came_first", {"flush() waits", "placed_misuse.cpp:", kOwnBorrow}},
                    Case{"flushes_what_came_first_here", {"flush() waits", "placed_misuse.cpp:", kOwnBorrow}},
                    Case{"flushes_neighbour", {"flush() waits", "placed_misuse.cpp:", kOwnBorrow}},
                    Case{"calls_neighbour", {"would wait for itself", "placed_misuse.cpp:", "call_at (called by "}},
                    Case{"calls_after_posting", {"call_at (called by ", "placed_misuse.cpp:", kOwnBorrow}},
                    Case{"calls_nothing", {"call_at (called by ", "a null pointer"}},
                    Case{"posts_to_nothing", {"call_at_async (called by ", "a null pointer"}},
                    Case{"calls_on_stack", {"call_at (called by ", "not in the global heap"}},
                    Case{"posts_to_stack", {"call_at_async (called by ", "not in the global heap"}},
                    Case{"calls_on_memory_node",
                         {"call_at (called by ", "it lies on a memory node"},
                         {"-n", "2", "--memory-nodes", "1", "--local-memory", "4M"}},
                    Case{"calls_across_homes", {"call_at (called by ", "it has several homes"}},
                    Case{"reads_past_the_end", {"dsm::vector::at at ", "placed_misuse.cpp:", "index 2 of 2 elements"}},
                    Case{"writes_past_the_end", {"dsm::vector::set at ", "there are no elements"}},
                    Case{"pops_nothing", {"dsm::vector::pop_back at ", "there are no elements"}},
                    Case{"looks_past_the_end", {"dsm::dist_array::at at ", "index 10 of 10 elements"}},
                    Case{"looks_into_nothing", {"dsm::dist_array::at at ", "there are no elements"}},
                    Case{"gets_twice", {"dsm::future::get() at ", "placed_misuse.cpp:", "the future is empty"}},
                    Case{"waits_for_nothing", {"dsm::future::wait() at ", "the future is empty"}},
                    Case{"asks_nothing", {"dsm::future::failure() at ", "the future is empty"}},
                    Case{"throws_in_call", {"has thrown an exception (no luck)"}},
                    Case{"throws_in_spawned", {"spawned on node 1 has thrown an exception: no luck"}},
                    Case{"foreign_function", {"is not the program's own code"}},
                    Case{"no_such_node", {"spawn_on node 7: this job has nodes 0 to 1"}},
                    Case{"called_while_held", {"would wait for itself", "placed_misuse.cpp:"}},
                    Case{"copied_channel", {"dsm::channel at", "no such channel here"}},
                    Case{"atomic_on_stack", {"dsm::atomic outside the global heap", "placed_misuse.cpp:"}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
