// A job's counters, read once: plain numbers that can be subtracted, added up and shown.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/stats.h"

namespace dsm::tools {

struct FieldInfo {
  const char* name;
  const char* unit;
  const char* help;
};
const std::vector<FieldInfo>& counter_table();
const std::vector<FieldInfo>& histogram_table();

struct Latencies {
  std::array<std::uint64_t, kHistogramBuckets> buckets{};
  std::uint64_t max_ns = 0;

  std::uint64_t count() const;
  // The upper bound of the bucket in which that share (0 to 1) of the events is reached, but never more than max_ns;
  // 0 if there are none.
  std::uint64_t quantile_ns(double share) const;
};

struct NodeView {
  int pid = 0;
  std::string engine;
  std::vector<std::uint64_t> counters;  // in the order of counter_table()
  std::vector<Latencies> latencies;     // in the order of histogram_table()
};

// Reads the counters of all nodes through a descriptor that need not be trusted.
Result<std::vector<NodeView>> read_stats(int fd, unsigned nodes);

NodeView total_of(const std::vector<NodeView>& nodes);
// Events a second, from two readings of one node `seconds` apart.
std::vector<double> rates_of(const NodeView& before, const NodeView& now, double seconds);

// An earlier reading, for rates.
struct Earlier {
  std::vector<NodeView> nodes;
  double seconds;  // since then
};

// The counters of every node and of all together, and the latencies, for people. With an earlier reading also how much
// was counted a second since then, and no rows of counters that are still 0.
std::string table_text(const std::vector<NodeView>& nodes, const std::optional<Earlier>& earlier = std::nullopt);
// 1234 -> "1.23 us"
std::string duration_text(std::uint64_t ns);

}  // namespace dsm::tools
