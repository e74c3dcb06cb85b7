// dsmexplore: every schedule of small simulated clusters.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/command_line.h"
#include "tests/sim/explorer.h"

namespace dsm::sim {
namespace {

struct Command {
  std::vector<std::string> names;
  bool list = false;
  Limits limits;
  std::string mutation = "none";
  std::string proof;
};

const char* how_far(const Found& found) { return found.exhausted ? "all" : "not all"; }

void print_row(const char* name, const Found& found) {
  fmt::print("{:<16} {:>10} {:>11} {:>6} {:>8} {:>8} {:>7.1f}  {}\n", name, found.states, found.steps, found.depth,
             found.ends, how_far(found), found.seconds, found.failure ? "FAILED" : "clean");
  std::fflush(stdout);
}

// A line of build/proof/explore.json (scripts/proof-report has the form).
void write_row(std::FILE* file, const Space& space, const Found& found) {
  const nlohmann::json row = {
      {"part", "explore"},
      {"name", fmt::format("{}: {} nodes, {} pages, {} threads a node, {} operations each", space.name,
                           space.options.nodes, space.options.pages, space.options.threads, space.options.ops)},
      {"value", found.states},
      {"unit", "states"},
      {"ok", !found.failure},
      {"note", fmt::format("{} steps; {} up to depth {}; {} ends; {:.0f} s", found.steps,
                           found.exhausted ? "the whole space, no circle without a way out," : "all states",
                           found.depth, found.ends, found.seconds)}};
  fmt::print(file, "{}\n", row.dump());
}

int run(const Command& command, Mutation mutation) {
  std::FILE* const file = command.proof.empty() ? nullptr : std::fopen(command.proof.c_str(), "w");
  if (!command.proof.empty() && file == nullptr) {
    fmt::print(stderr, "dsmexplore: cannot write {}; does its folder exist?\n", command.proof);
    return 2;
  }
  fmt::print("{:<16} {:>10} {:>11} {:>6} {:>8} {:>8} {:>7}\n", "space", "states", "steps", "depth", "ends", "seen",
             "s");
  bool failed = false;
  for (const Space& space : spaces()) {
    const bool chosen = std::find(command.names.begin(), command.names.end(), space.name) != command.names.end();
    if (!command.names.empty() && !chosen) continue;
    Options options = space.options;
    options.mutation = mutation;
    const Found found = Explorer(options, command.limits).run();
    print_row(space.name, found);
    if (file != nullptr) write_row(file, space, found);
    if (!found.failure) continue;
    failed = true;
    for (const std::string& line : found.trace) fmt::print("{}\n", line);
    fmt::print("FAILED {}: {}\n  in {}: {}\n", name_of(found.failure->check), found.failure->text, space.name,
               describe(options));
  }
  if (file != nullptr) std::fclose(file);
  return failed ? 1 : 0;
}

int main(int argc, char** argv) {
  Command command;
  dsm::support::CommandLine app(
      "Goes through every schedule and every program of small simulated clusters, and checks each state.\n"
      "A failure is printed with a shortest way to it.",
      "dsmexplore");
  app.option("--space", command.names, "only these (see --list)");
  app.flag("--list", command.list, "the spaces there are");
  app.option("--states", command.limits.states, "stop a space after so many [10000000]");
  app.option("--depth", command.limits.depth, "stop a space at states so many steps away");
  app.option("--seconds", command.limits.seconds, "stop a space after so long");
  app.option("--mutation", command.mutation, "plant this bug (see tests/sim/options.cpp)");
  app.option("--proof", command.proof, "write the figures to this file too, as scripts/proof-report reads them");
  if (const auto status = app.parse(argc, argv)) return *status;
  if (command.list) {
    for (const Space& space : spaces()) fmt::print("{:<16} {}\n", space.name, describe(space.options));
    return 0;
  }
  for (const std::string& name : command.names) {
    const auto has_name = [&name](const Space& space) { return name == space.name; };
    if (std::any_of(spaces().begin(), spaces().end(), has_name)) continue;
    fmt::print(stderr, "dsmexplore: there is no space '{}'; --list names them\n", name);
    return 2;
  }
  const std::optional<Mutation> mutation = mutation_named(command.mutation);
  if (!mutation) {
    fmt::print(stderr, "dsmexplore: there is no mutation '{}'; the names stand in tests/sim/options.cpp\n",
               command.mutation);
    return 2;
  }
  return run(command, *mutation);
}

}  // namespace
}  // namespace dsm::sim

int main(int argc, char** argv) { return dsm::sim::main(argc, argv); }
