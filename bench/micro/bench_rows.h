// What every bench_* prints: rows of {name, value, unit, peer, goal, met}, as a table or one JSON object a line.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace dsm::bench {

enum class Goal { kNone, kRatioAtMost, kRatioAtLeast, kValueAtMost, kValueAtLeast };

struct Row {
  std::string name;
  double value = 0;
  std::string unit;
  std::optional<double> peer;  // the bare mechanism, measured in the same run, same unit
  std::string peer_name;
  Goal goal = Goal::kNone;
  double bound = 0;  // of the goal

  std::optional<double> ratio() const;  // value over peer
  std::string goal_text() const;        // "<= 1.3x peer"
  std::optional<bool> met() const;
  std::string to_json() const;
};

Row from_json(const std::string& line);
void print_table(const std::vector<Row>& rows);

template <typename T>
T median(std::vector<T> values) {
  if (values.empty()) return T{};
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace dsm::bench
