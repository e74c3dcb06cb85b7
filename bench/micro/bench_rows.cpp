#include "bench/micro/bench_rows.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

namespace dsm::bench {

std::optional<double> Row::ratio() const { return peer && *peer != 0 ? std::optional(value / *peer) : std::nullopt; }

std::string Row::goal_text() const {
  switch (goal) {
    case Goal::kNone:
      return "";
    case Goal::kRatioAtMost:
      return fmt::format("<= {:g}x peer", bound);
    case Goal::kRatioAtLeast:
      return fmt::format(">= {:g}x peer", bound);
    case Goal::kValueAtMost:
      return fmt::format("<= {:g} {}", bound, unit);
    case Goal::kValueAtLeast:
      return fmt::format(">= {:g} {}", bound, unit);
  }
  return "";
}

std::optional<bool> Row::met() const {
  switch (goal) {
    case Goal::kNone:
      return std::nullopt;
    case Goal::kRatioAtMost:
      return peer && value <= bound * *peer;
    case Goal::kRatioAtLeast:
      return peer && value >= bound * *peer;
    case Goal::kValueAtMost:
      return value <= bound;
    case Goal::kValueAtLeast:
      return value >= bound;
  }
  return std::nullopt;
}

std::string Row::to_json() const {
  nlohmann::ordered_json row{{"name", name}, {"value", value}, {"unit", unit}};
  row["peer"] = peer ? nlohmann::ordered_json(*peer) : nlohmann::ordered_json();
  row["goal"] = goal == Goal::kNone ? nlohmann::ordered_json() : nlohmann::ordered_json(goal_text());
  row["met"] = met() ? nlohmann::ordered_json(*met()) : nlohmann::ordered_json();
  row["ratio"] = ratio() ? nlohmann::ordered_json(*ratio()) : nlohmann::ordered_json();
  row["peer_name"] = peer_name;
  row["goal_kind"] = static_cast<int>(goal);
  row["bound"] = bound;
  return row.dump();
}

Row from_json(const std::string& line) {
  const auto parsed = nlohmann::json::parse(line);
  Row row{parsed.at("name"), parsed.at("value"),     parsed.at("unit"),
          std::nullopt,      parsed.at("peer_name"), static_cast<Goal>(parsed.at("goal_kind").get<int>()),
          parsed.at("bound")};
  if (!parsed.at("peer").is_null()) row.peer = parsed.at("peer").get<double>();
  return row;
}

void print_table(const std::vector<Row>& rows) {
  fmt::print("{:<52} {:>11} {:<8} {:>11} {:>7}  {:<14} {:<4} {}\n", "what", "ours", "unit", "peer", "ratio", "goal",
             "met", "the peer");
  for (const Row& row : rows) {
    const std::string peer = row.peer ? fmt::format("{:.3f}", *row.peer) : "";
    const std::string ratio = row.ratio() ? fmt::format("{:.2f}", *row.ratio()) : "";
    const std::string met = row.met() ? (*row.met() ? "yes" : "NO") : "";
    fmt::print("{:<52} {:>11.3f} {:<8} {:>11} {:>7}  {:<14} {:<4} {}\n", row.name, row.value, row.unit, peer, ratio,
               row.goal_text(), met, row.peer_name);
  }
}

}  // namespace dsm::bench
