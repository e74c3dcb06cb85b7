#include "tests/litmus/table.h"

#include <fmt/core.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

namespace litmus {

namespace {

std::string setting(const char* variable, const char* otherwise) {
  const char* const value = std::getenv(variable);
  return value != nullptr ? value : otherwise;
}

}  // namespace

void print_head() {
  fmt::print("{:<13}{:<8}{:<8}{:>11}{:>10}{:>10}{:>13}{:>13}\n", "test", "mode", "place", "iterations", "outcomes",
             "forbidden", "relaxed on", "relaxed over");
  fmt::print("{:<13}{:<8}{:<8}{:>11}{:>10}{:>10}{:>13}{:>13}\n", "", "", "", "", "of allowed", "", "one node", "nodes");
}

void print_row(const Row& row) {
  fmt::print("{:<13}{:<8}{:<8}{:>11}{:>10}{:>10}{:>13}{:>13}\n", row.program->name,
             kModes[static_cast<std::size_t>(row.mode)], kPlacements[static_cast<std::size_t>(row.placement)],
             row.iterations, fmt::format("{}/{}", row.outcomes_seen, row.outcomes_allowed), row.forbidden,
             row.relaxed_one_node, row.relaxed_nodes);
}

bool print_sums(const std::vector<Row>& rows) {
  Row sum{};
  for (const Row& row : rows) {
    sum.iterations += row.iterations;
    sum.forbidden += row.forbidden;
    sum.relaxed_one_node += row.relaxed_one_node;
    sum.relaxed_nodes += row.relaxed_nodes;
  }
  fmt::print("litmus: {} rows, {} iterations, {} forbidden outcomes, {} relaxed ones that are allowed\n", rows.size(),
             sum.iterations, sum.forbidden, sum.relaxed_one_node + sum.relaxed_nodes);
  return sum.forbidden == 0;
}

bool write_json(const std::string& name, const std::vector<Row>& rows) {
  std::ofstream file(name);
  for (const Row& row : rows) {
    const nlohmann::ordered_json line = {{"test", row.program->name},
                                         {"mode", kModes[static_cast<std::size_t>(row.mode)]},
                                         {"placement", kPlacements[static_cast<std::size_t>(row.placement)]},
                                         {"engine", setting("DSM_ENGINE", "auto")},
                                         {"transport", setting("DSM_TRANSPORT", "shm")},
                                         {"nodes", dsm::nodes()},
                                         {"iterations", row.iterations},
                                         {"outcomes_seen", row.outcomes_seen},
                                         {"outcomes_allowed", row.outcomes_allowed},
                                         {"relaxed_one_node", row.relaxed_one_node},
                                         {"relaxed_nodes", row.relaxed_nodes},
                                         {"forbidden", row.forbidden}};
    file << line.dump() << '\n';
  }
  file.close();
  return !file.fail();
}

}  // namespace litmus
