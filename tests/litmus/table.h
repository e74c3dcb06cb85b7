// The rows of a run: what was asked, what was seen.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/litmus/ground.h"

namespace litmus {

struct Row {
  const Program* program;
  Mode mode;
  Placement placement;
  std::uint64_t iterations = 0;
  std::uint64_t forbidden = 0;
  std::uint64_t outcomes_seen = 0, outcomes_allowed = 0;
  std::uint64_t relaxed_one_node = 0;  // outcomes that no order of the accesses explains, seen by threads of one node
  std::uint64_t relaxed_nodes = 0;     // the same, seen by threads of several nodes
};

void print_head();
void print_row(const Row& row);
// Prints the sums; false if an outcome was seen that must not be.
bool print_sums(const std::vector<Row>& rows);
// One JSON object a line. False if the file cannot be written.
bool write_json(const std::string& file, const std::vector<Row>& rows);

}  // namespace litmus
