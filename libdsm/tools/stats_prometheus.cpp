#include "tools/stats_prometheus.h"

#include <fmt/core.h>

#include <string_view>

namespace dsm::tools {
namespace {

// The one that goes down, too.
bool is_gauge(std::string_view counter) { return counter == "resident_pages"; }

std::string head(const std::string& name, const char* unit, const char* help, const char* type) {
  return fmt::format("# HELP {} {} ({})\n# TYPE {} {}\n", name, help, unit, name, type);
}

}  // namespace

std::string prometheus_text(int job, const std::vector<NodeView>& nodes) {
  std::string text;
  for (std::size_t i = 0; i < counter_table().size(); ++i) {
    const FieldInfo& field = counter_table()[i];
    const bool gauge = is_gauge(field.name);
    const std::string name = fmt::format("dsm_{}{}", field.name, gauge ? "" : "_total");
    text += head(name, field.unit, field.help, gauge ? "gauge" : "counter");
    for (std::size_t node = 0; node < nodes.size(); ++node) {
      text += fmt::format("{}{{job_pid=\"{}\",node=\"{}\"}} {}\n", name, job, node, nodes[node].counters[i]);
    }
  }
  for (std::size_t i = 0; i < histogram_table().size(); ++i) {
    const FieldInfo& field = histogram_table()[i];
    const std::string name = fmt::format("dsm_{}_seconds", field.name);
    text += head(name, "quantiles since the job's start", field.help, "gauge");
    for (std::size_t node = 0; node < nodes.size(); ++node) {
      for (const double quantile : {0.5, 0.99}) {
        text += fmt::format("{}{{job_pid=\"{}\",node=\"{}\",quantile=\"{}\"}} {:.9f}\n", name, job, node, quantile,
                            static_cast<double>(nodes[node].latencies[i].quantile_ns(quantile)) / 1e9);
      }
    }
  }
  return text;
}

}  // namespace dsm::tools
