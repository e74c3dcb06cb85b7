// dsmsim: runs the page protocol on a simulated cluster, seed after seed, until one fails.
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "support/command_line.h"
#include "tests/sim/run.h"

namespace dsm::sim {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Command {
  std::optional<std::uint64_t> seed;
  bool trace = false;
  std::uint64_t runs = 0;
  double minutes = 0;
  std::uint64_t first_seed = 1;
  unsigned jobs = 1;
  bool json = false;
  std::string mutation = "none";
  std::string proof;
  Overrides overrides;
};

struct Totals {
  std::uint64_t runs = 0;
  std::uint64_t moves = 0;
  std::uint64_t accesses = 0;
  double fair_share = 0;
  Overtaken overtaken;
  std::optional<std::uint64_t> failed_seed;

  void add(const Outcome& outcome) {
    ++runs;
    moves += outcome.counts.moves;
    accesses += outcome.counts.accesses;
    fair_share = std::max(fair_share, outcome.counts.fair_share);
    overtaken.exclusive = std::max(overtaken.exclusive, outcome.counts.overtaken.exclusive);
    overtaken.grants = std::max(overtaken.grants, outcome.counts.overtaken.grants);
    overtaken.in_vain = std::max(overtaken.in_vain, outcome.counts.overtaken.in_vain);
  }
};

// Hands out seeds to `jobs` threads until the runs or the minutes are used up, or one fails.
class Campaign {
 public:
  explicit Campaign(const Command& command) : command_(command), next_seed_(command.first_seed) {}

  Totals run();
  double seconds() const { return std::chrono::duration<double>(SteadyClock::now() - start_).count(); }

 private:
  void work();
  bool over(std::uint64_t seed) const;
  void note(std::uint64_t seed, const Outcome& outcome);

  const Command& command_;
  const SteadyClock::time_point start_ = SteadyClock::now();
  std::atomic<std::uint64_t> next_seed_;
  std::atomic<bool> failed_{false};
  std::mutex mutex_;  // guards what follows
  Totals totals_;
  double next_progress_ = 5;
};

Totals Campaign::run() {
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < command_.jobs; ++i) workers.emplace_back([this] { work(); });
  for (std::thread& worker : workers) worker.join();
  return totals_;
}

void Campaign::work() {
  for (std::uint64_t seed = next_seed_++; !over(seed); seed = next_seed_++) {
    note(seed, sim::run(seed, command_.overrides));
  }
}

bool Campaign::over(std::uint64_t seed) const {
  if (failed_) return true;
  if (command_.minutes > 0) return seconds() >= command_.minutes * 60;
  return seed - command_.first_seed >= command_.runs;
}

void Campaign::note(std::uint64_t seed, const Outcome& outcome) {
  const std::lock_guard lock(mutex_);
  totals_.add(outcome);
  if (outcome.failure) {
    totals_.failed_seed = std::min(seed, totals_.failed_seed.value_or(seed));
    failed_ = true;
  }
  if (seconds() < next_progress_) return;
  next_progress_ += 5;
  fmt::print("{:6.0f} s: {} runs, {:.2f} million steps/s\n", seconds(), totals_.runs,
             static_cast<double>(totals_.moves) / seconds() / 1e6);
  std::fflush(stdout);
}

void print_summary(const Command& command, const Totals& totals, double seconds) {
  const double rate = static_cast<double>(totals.moves) / seconds;
  fmt::print("dsmsim: {} runs from seed {}, {} steps, {} accesses, {:.2f} million steps/s, {:.1f} s: {}\n", totals.runs,
             command.first_seed, totals.moves, totals.accesses, rate / 1e6, seconds,
             totals.failed_seed ? "FAILED" : "all clean");
  fmt::print(
      "        most overtaken until served: {} exclusive, {} in all; served in vain {} times; fair rounds {:.0f}% of "
      "the bound\n",
      totals.overtaken.exclusive, totals.overtaken.grants, totals.overtaken.in_vain, totals.fair_share * 100);
  if (!command.json) return;
  nlohmann::json json = {{"runs", totals.runs},
                         {"first_seed", command.first_seed},
                         {"steps", totals.moves},
                         {"accesses", totals.accesses},
                         {"seconds", seconds},
                         {"steps_per_second", rate},
                         {"most_overtaken_exclusive", totals.overtaken.exclusive},
                         {"most_overtaken", totals.overtaken.grants},
                         {"most_served_in_vain", totals.overtaken.in_vain},
                         {"failed_seed", nullptr}};
  if (totals.failed_seed) json["failed_seed"] = *totals.failed_seed;
  fmt::print("{}\n", json.dump());
}

int replay(const Command& command) {
  Trace trace(command.trace);
  const Outcome outcome = run(*command.seed, command.overrides, &trace);
  const std::string options = describe(options_of(*command.seed, command.overrides));
  if (!outcome.failure) {
    fmt::print("seed {} is clean: {} steps, {} accesses; {}\n", *command.seed, outcome.counts.moves,
               outcome.counts.accesses, options);
    return 0;
  }
  if (command.trace) {
    fmt::print("FAILED {}: {}\n  {}\n", name_of(outcome.failure->check), outcome.failure->text, options);
  } else {
    fmt::print("{}", report(*command.seed, command.overrides));
  }
  return 1;
}

// build/proof/sim.json (scripts/proof-report has the form).
bool write_proof(const Command& command, const Totals& totals, double seconds) {
  std::FILE* const file = std::fopen(command.proof.c_str(), "w");
  if (file == nullptr) {
    fmt::print(stderr, "dsmsim: cannot write {}; does its folder exist?\n", command.proof);
    return false;
  }
  const auto row = [&](const char* name, double value, const char* unit, const std::string& note) {
    const nlohmann::json json = {
        {"part", "sim"}, {"name", name}, {"value", value}, {"unit", unit}, {"ok", !totals.failed_seed}, {"note", note}};
    fmt::print(file, "{}\n", json.dump());
  };
  row("seeds", static_cast<double>(totals.runs), "runs", fmt::format("from seed {}", command.first_seed));
  row("steps in all", static_cast<double>(totals.moves), "steps",
      fmt::format("{:.0f} s, {} jobs", seconds, command.jobs));
  row("accesses and borrows", static_cast<double>(totals.accesses), "operations",
      "each checked: reads current, borrows linearizable, no update lost");
  row("steps a second", static_cast<double>(totals.moves) / seconds, "steps/s", "");
  row("operations a second", static_cast<double>(totals.accesses) / seconds, "operations/s", "of all jobs together");
  std::fclose(file);
  return true;
}

int campaign(const Command& command) {
  Campaign campaign(command);
  const Totals totals = campaign.run();
  const double seconds = campaign.seconds();
  if (totals.failed_seed) {
    const Overrides small = shrink(*totals.failed_seed, command.overrides);
    fmt::print("{}", report(*totals.failed_seed, small));
    fmt::print("  shrunk from: {}\n", describe(options_of(*totals.failed_seed, command.overrides)));
  }
  print_summary(command, totals, seconds);
  if (!command.proof.empty() && !write_proof(command, totals, seconds)) return 2;
  return totals.failed_seed ? 1 : 0;
}

int main(int argc, char** argv) {
  Command command;
  dsm::support::CommandLine app(
      "Runs the page protocol on a simulated cluster. One seed determines everything about a run.", "dsmsim");
  app.option("--seed", command.seed, "replay this seed only");
  app.flag("--trace", command.trace, "with --seed: print every step");
  app.option("--runs", command.runs, "how many seeds to run [1000]");
  app.option("--minutes", command.minutes, "run seeds for so long");
  app.option("--first-seed", command.first_seed, "the first seed [1]");
  app.option("--jobs", command.jobs, "threads that run seeds [1]").range(1, 256);
  app.option("--proof", command.proof, "write the figures to this file, as scripts/proof-report reads them");
  app.flag("--json", command.json, "end with one line of JSON");
  app.option("--nodes", command.overrides.nodes, "instead of what the seed says").range(2, 16);
  app.option("--pages", command.overrides.pages, "instead of what the seed says").range(1, 8);
  app.option("--threads", command.overrides.threads, "per node, instead of what the seed says").range(1, 8);
  app.option("--ops", command.overrides.ops, "per thread, instead of what the seed says").range(1, 10000);
  app.option("--borrow", command.overrides.borrow, "weight of borrows among the accesses, instead of the seed's")
      .range(0, 100);
  app.flag("--plain", command.overrides.plain, "no slow nodes or links, no crashes, full rings or bounded memory");
  std::vector<std::string> names;
  for (const Feature& feature : features()) names.emplace_back(feature.name);
  app.option("--without", command.overrides.without, "leave these out of what the seed says").list().one_of(names);
  app.option("--chance", command.overrides.chance, "another course of the same seed, as shrinking finds them");
  app.option("--mutation", command.mutation, "plant this bug (see tests/sim/options.h)");
  if (const auto status = app.parse(argc, argv)) return *status;
  const std::optional<Mutation> mutation = mutation_named(command.mutation);
  if (!mutation) {
    fmt::print(stderr, "dsmsim: there is no mutation '{}'; the names stand in tests/sim/options.cpp\n",
               command.mutation);
    return 2;
  }
  command.overrides.mutation = *mutation;
  if (command.runs == 0) command.runs = 1000;
  return command.seed ? replay(command) : campaign(command);
}

}  // namespace
}  // namespace dsm::sim

int main(int argc, char** argv) { return dsm::sim::main(argc, argv); }
