#include "tools/stats_view.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

namespace dsm::tools {

namespace {

constexpr std::size_t kColumns = 8;  // nodes side by side

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

// Rows of `nodes[first, last)`; the total goes in front, where it is found whatever the number of nodes.
std::string counter_block(const std::vector<NodeView>& nodes, const NodeView& total, std::size_t first, std::size_t last) {
  std::string text = fmt::format("{:<18}{:<12}{:>16}", "counter", "unit", "total");
  for (std::size_t node = first; node < last; ++node) text += fmt::format("{:>16}", fmt::format("node {}", node));
  text += '\n';
  for (std::size_t i = 0; i < counter_table().size(); ++i) {
    const FieldInfo& field = counter_table()[i];
    text += fmt::format("{:<18}{:<12}{:>16}", field.name, field.unit, total.counters[i]);
    for (std::size_t node = first; node < last; ++node) text += fmt::format("{:>16}", nodes[node].counters[i]);
    text += '\n';
  }
  return text;
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

std::string table_text(const std::vector<NodeView>& nodes) {
  const NodeView total = total_of(nodes);
  std::string text;
  for (std::size_t first = 0; first < nodes.size(); first += kColumns) {
    text += counter_block(nodes, total, first, std::min(first + kColumns, nodes.size())) + '\n';
  }
  std::string rows = latency_rows("total", total);
  for (std::size_t node = 0; node < nodes.size(); ++node) rows += latency_rows(fmt::format("node {}", node), nodes[node]);
  text += fmt::format("{:<18}{:<12}{:>16}{:>16}{:>16}{:>16}\n", "latency", "of", "events", "p50", "p99", "max");
  return text + (rows.empty() ? "(none was measured)\n" : rows);
}

}  // namespace dsm::tools
