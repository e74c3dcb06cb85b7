#include "tools/stats_view.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

namespace dsm::tools {

namespace {

constexpr int kWidth = 16;
constexpr int kRateWidth = 12;
constexpr std::size_t kColumns = 8;  // nodes side by side
constexpr std::size_t kColumnsWithRates = 4;

std::uint64_t get(const std::atomic<std::uint64_t>& counter) { return counter.load(std::memory_order_relaxed); }

Latencies latencies_of(const Histogram& histogram) {
  Latencies latencies;
  for (std::size_t i = 0; i < kHistogramBuckets; ++i) latencies.buckets[i] = get(histogram.bucket[i]);
  latencies.max_ns = get(histogram.max_ns);
  return latencies;
}

NodeView view_of(const NodeStats& stats) {
  NodeView view;
  view.pid = stats.pid;
  view.engine.assign(stats.engine, ::strnlen(stats.engine, sizeof stats.engine));
#define DSM_COUNTER(field, unit, help) view.counters.push_back(get(stats.field));
  DSM_COUNTERS(DSM_COUNTER)
#undef DSM_COUNTER
#define DSM_HISTOGRAM(field, unit, help) view.latencies.push_back(latencies_of(stats.field));
  DSM_HISTOGRAMS(DSM_HISTOGRAM)
#undef DSM_HISTOGRAM
  return view;
}

// One column of the table: the counters of a node or of all, and how fast they grow.
struct Column {
  std::string title;
  const NodeView* view;
  std::vector<double> rates;  // empty: not shown
};

std::string row_of(const std::string& name, const std::string& unit, const std::vector<Column>& columns,
                   std::size_t i) {
  std::string text = fmt::format("{:<18}{:<12}", name, unit);
  for (const Column& column : columns) {
    text += fmt::format("{:>{}}", column.view->counters[i], kWidth);
    if (!column.rates.empty()) text += fmt::format("{:>{}.1f}", column.rates[i], kRateWidth);
  }
  return text + '\n';
}

std::string counter_block(const std::vector<Column>& columns, bool all_rows) {
  std::string text = fmt::format("{:<18}{:<12}", "counter", "unit");
  for (const Column& column : columns) {
    text += fmt::format("{:>{}}", column.title, kWidth);
    if (!column.rates.empty()) text += fmt::format("{:>{}}", "per second", kRateWidth);
  }
  text += '\n';
  const NodeView& total = *columns.front().view;
  for (std::size_t i = 0; i < counter_table().size(); ++i) {
    if (all_rows || total.counters[i] != 0)
      text += row_of(counter_table()[i].name, counter_table()[i].unit, columns, i);
  }
  return text + '\n';
}

std::string latency_rows(const std::string& who, const NodeView& view) {
  std::string text;
  for (std::size_t i = 0; i < histogram_table().size(); ++i) {
    const Latencies& latencies = view.latencies[i];
    if (latencies.count() == 0) continue;
    text += fmt::format("{:<18}{:<12}{:>16}{:>16}{:>16}{:>16}\n", histogram_table()[i].name, who, latencies.count(),
                        duration_text(latencies.quantile_ns(0.5)), duration_text(latencies.quantile_ns(0.99)),
                        duration_text(latencies.max_ns));
  }
  return text;
}

}  // namespace

const std::vector<FieldInfo>& counter_table() {
  static const std::vector<FieldInfo> table = {
#define DSM_COUNTER(field, unit, help) {#field, unit, help},
      DSM_COUNTERS(DSM_COUNTER)
#undef DSM_COUNTER
  };
  return table;
}

const std::vector<FieldInfo>& histogram_table() {
  static const std::vector<FieldInfo> table = {
#define DSM_HISTOGRAM(field, unit, help) {#field, unit, help},
      DSM_HISTOGRAMS(DSM_HISTOGRAM)
#undef DSM_HISTOGRAM
  };
  return table;
}

std::uint64_t Latencies::count() const {
  std::uint64_t sum = 0;
  for (const std::uint64_t bucket : buckets) sum += bucket;
  return sum;
}

std::uint64_t Latencies::quantile_ns(double share) const {
  const std::uint64_t events = count();
  if (events == 0) return 0;
  const auto wanted = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(events)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kHistogramBuckets; ++i) {
    seen += buckets[i];
    if (seen >= std::max<std::uint64_t>(wanted, 1)) return std::min((std::uint64_t{2} << i) - 1, max_ns);
  }
  return max_ns;
}

Result<std::vector<NodeView>> read_stats(int fd, unsigned nodes) {
  std::vector<NodeStats> stats(nodes);
  const std::size_t bytes = nodes * sizeof(NodeStats);
  const ssize_t got = ::pread(fd, static_cast<void*>(stats.data()), bytes, 0);
  if (got < 0) return fail(Errc::kSystem, "cannot read the counters", errno);
  if (static_cast<std::size_t>(got) != bytes) return fail(Errc::kProtocol, "the counters are cut short");
  std::vector<NodeView> views;
  for (const NodeStats& node : stats) {
    if (node.version != kStatsVersion) return fail(Errc::kProtocol, "the counters are of another version");
    views.push_back(view_of(node));
  }
  return views;
}

NodeView total_of(const std::vector<NodeView>& nodes) {
  NodeView total;
  total.counters.resize(counter_table().size());
  total.latencies.resize(histogram_table().size());
  for (const NodeView& node : nodes) {
    for (std::size_t i = 0; i < total.counters.size(); ++i) total.counters[i] += node.counters[i];
    for (std::size_t i = 0; i < total.latencies.size(); ++i) {
      Latencies& sum = total.latencies[i];
      for (std::size_t b = 0; b < kHistogramBuckets; ++b) sum.buckets[b] += node.latencies[i].buckets[b];
      sum.max_ns = std::max(sum.max_ns, node.latencies[i].max_ns);
    }
  }
  return total;
}

std::vector<double> rates_of(const NodeView& before, const NodeView& now, double seconds) {
  std::vector<double> rates;
  for (std::size_t i = 0; i < now.counters.size(); ++i) {
    rates.push_back(static_cast<double>(now.counters[i] - before.counters[i]) / seconds);
  }
  return rates;
}

std::string duration_text(std::uint64_t ns) {
  if (ns < 1000) return fmt::format("{} ns", ns);
  if (ns < 1'000'000) return fmt::format("{:.2f} us", static_cast<double>(ns) / 1e3);
  if (ns < 1'000'000'000) return fmt::format("{:.2f} ms", static_cast<double>(ns) / 1e6);
  return fmt::format("{:.2f} s", static_cast<double>(ns) / 1e9);
}

std::string table_text(const std::vector<NodeView>& nodes, const std::optional<Earlier>& earlier) {
  const NodeView total = total_of(nodes);
  const auto rates = [&](const NodeView& before, const NodeView& now) {
    return rates_of(before, now, earlier->seconds);
  };
  const std::size_t width = earlier ? kColumnsWithRates : kColumns;
  std::string text;
  for (std::size_t first = 0; first < nodes.size(); first += width) {
    // The total goes in front, where it is found whatever the number of nodes.
    std::vector<Column> columns{{"total", &total, {}}};
    if (earlier) columns.front().rates = rates(total_of(earlier->nodes), total);
    for (std::size_t node = first; node < std::min(first + width, nodes.size()); ++node) {
      columns.push_back({fmt::format("node {}", node), &nodes[node], {}});
      if (earlier) columns.back().rates = rates(earlier->nodes[node], nodes[node]);
    }
    text += counter_block(columns, !earlier);
  }
  text += fmt::format("{:<18}{:<12}{:>16}{:>16}{:>16}{:>16}\n", "latency", "of", "events", "p50", "p99", "max");
  std::string rows = latency_rows("total", total);
  for (std::size_t node = 0; node < nodes.size(); ++node)
    rows += latency_rows(fmt::format("node {}", node), nodes[node]);
  return text + (rows.empty() ? "(none was measured)\n" : rows);
}

}  // namespace dsm::tools
