// Pages of one store each (runtime/one_store.cpp) over real processes: the values are right in every engine, with and
// without the library's making those stores; and where it can make them, it does.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "mem/fault_engine.h"
#include "tests/cluster/launcher_run.h"

namespace {

using dsm::cluster::test::bin;
using dsm::cluster::test::Process;

struct Outcome {
  int status;
  std::string said;
  std::uint64_t emulated = 0, stores = 0;  // of all nodes
};

Outcome run(const std::string& engine, unsigned nodes, const char* one_store) {
  const std::string file =
      (std::filesystem::temp_directory_path() / ("one_store." + std::to_string(::getpid()) + ".json")).string();
  Process job({bin("dsmrun"), "-n", std::to_string(nodes), "--engine", engine, "--one-store", one_store, "--stats-json",
               file, "--", bin("one_store_node")});
  Outcome outcome{job.wait(), job.out() + job.err()};
  std::ifstream in(file);
  const auto told = nlohmann::json::parse(in, nullptr, false);
  std::filesystem::remove(file);
  if (told.is_discarded()) return outcome;
  for (const auto& node : told["nodes"]) {
    outcome.emulated += node["counters"]["emulated"].get<std::uint64_t>();
    outcome.stores += node["counters"]["fault_write"].get<std::uint64_t>();
  }
  return outcome;
}

class OneStore : public testing::TestWithParam<const char*> {};

TEST_P(OneStore, EveryValueIsRight) {
  const std::string engine = GetParam();
  const std::string obstacle = dsm::mem::engine_obstacle(engine);
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
  const bool in_thread = engine == "uffd-thread";
  const Outcome with = run(engine, 2, "1");
  EXPECT_EQ(with.status, 0) << with.said;
  EXPECT_EQ(with.emulated != 0, !in_thread);
  const Outcome of_three = run(engine, 3, "1");
  EXPECT_EQ(of_three.status, 0) << of_three.said;
  const Outcome without = run(engine, 2, "0");
  EXPECT_EQ(without.status, 0) << without.said;
  EXPECT_EQ(without.emulated, 0U);
  EXPECT_GT(without.stores, 0U);
}

INSTANTIATE_TEST_SUITE_P(Engines, OneStore, testing::Values("uffd-inline", "uffd-thread", "sigsegv"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
