#include "tools/top_view.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <string_view>

namespace dsm::tools {
namespace {

constexpr std::size_t kSorts = 6;
constexpr std::string_view kKeys = "q quit  n nodes  c counters  s sort  space stand still";

// What nodes are shown and sorted by, a second: sums of counters.
struct Quantity {
  const char* title;
  std::vector<std::string_view> counters;
  double unit;  // shown in
};
const std::vector<Quantity>& quantities() {  // in the order of TopView::Sort, from kFaults on
  static const std::vector<Quantity> all = {
      {"faults/s", {"fault_read", "fault_write"}, 1},
      {"waits/s", {"wait"}, 1},
      {"MiB/s", {"bytes_read", "bytes_written"}, 1 << 20},
      {"locks/s", {"lock_local", "lock_remote"}, 1},
      {"borrows/s", {"object_local", "object_hit", "object_revalidate", "object_miss", "object_write"}, 1},
  };
  return all;
}

double quantity_of(const Quantity& quantity, const std::vector<double>& rates) {
  double sum = 0;
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const std::string_view name = counter_table()[i].name;
    if (std::find(quantity.counters.begin(), quantity.counters.end(), name) != quantity.counters.end()) sum += rates[i];
  }
  return sum / quantity.unit;
}

std::vector<double> rates_since(const std::optional<Earlier>& earlier, const NodeView& now, const NodeView* before) {
  return earlier ? rates_of(*before, now, earlier->seconds) : std::vector<double>(now.counters.size());
}

// The numbers 0 to count - 1: as they are, or those with the greatest keys first.
std::vector<std::size_t> order_by(const std::vector<double>& keys, bool sorted) {
  std::vector<std::size_t> order(keys.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (sorted)
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] > keys[b]; });
  return order;
}

const Latencies& fault_latencies(const NodeView& view) { return view.latencies.front(); }  // fault_latency

std::vector<std::string> node_lines(const TopView& view, const std::vector<NodeView>& now,
                                    const std::optional<Earlier>& earlier) {
  std::string title = fmt::format("{:>5} {:>9} {:<12}", "node", "pid", "engine");
  for (std::size_t i = 0; i < quantities().size(); ++i) {
    const bool key = static_cast<std::size_t>(view.sort) == i + 1;
    title += fmt::format("{:>11}", fmt::format("{}{}", quantities()[i].title, key ? "*" : ""));
  }
  std::vector<std::string> lines{title + fmt::format("{:>12}{:>12}", "fault p50", "fault p99")};
  std::vector<double> keys;
  std::vector<std::string> rows;
  const auto row = [&](const std::string& name, const NodeView& node, const std::vector<double>& rates) {
    std::string text = fmt::format("{:>5} {:>9} {:<12}", name, node.pid == 0 ? "-" : std::to_string(node.pid),
                                   node.engine.empty() ? "-" : node.engine);
    for (const Quantity& quantity : quantities()) text += fmt::format("{:>11.1f}", quantity_of(quantity, rates));
    return text + fmt::format("{:>12}{:>12}", duration_text(fault_latencies(node).quantile_ns(0.5)),
                              duration_text(fault_latencies(node).quantile_ns(0.99)));
  };
  for (std::size_t node = 0; node < now.size(); ++node) {
    const auto rates = rates_since(earlier, now[node], earlier ? &earlier->nodes[node] : nullptr);
    rows.push_back(row(std::to_string(node), now[node], rates));
    const bool sorted = view.sort != TopView::Sort::kNone;
    keys.push_back(sorted ? quantity_of(quantities()[static_cast<std::size_t>(view.sort) - 1], rates) : 0);
  }
  const NodeView total = total_of(now);
  const NodeView total_before = earlier ? total_of(earlier->nodes) : NodeView{};
  lines.push_back(row("all", total, rates_since(earlier, total, &total_before)));
  for (const std::size_t i : order_by(keys, view.sort != TopView::Sort::kNone)) lines.push_back(rows[i]);
  return lines;
}

// All nodes together, and each by itself.
std::vector<std::string> counter_lines(const TopView& view, const std::vector<NodeView>& now,
                                       const std::optional<Earlier>& earlier) {
  const NodeView total = total_of(now);
  const NodeView total_before = earlier ? total_of(earlier->nodes) : NodeView{};
  const std::vector<double> rates = rates_since(earlier, total, &total_before);
  const bool sorted = view.sort != TopView::Sort::kNone;
  std::string title = fmt::format("{:<18}{:>14}{:>13}", "counter", "total", sorted ? "per second*" : "per second");
  for (std::size_t node = 0; node < now.size(); ++node) title += fmt::format("{:>12}", fmt::format("node {}/s", node));
  std::vector<std::string> lines{title};
  for (const std::size_t i : order_by(rates, sorted)) {
    if (total.counters[i] == 0) continue;
    std::string text = fmt::format("{:<18}{:>14}{:>13.1f}", counter_table()[i].name, total.counters[i], rates[i]);
    for (std::size_t node = 0; node < now.size(); ++node) {
      text += fmt::format("{:>12.1f}", rates_since(earlier, now[node], earlier ? &earlier->nodes[node] : nullptr)[i]);
    }
    lines.push_back(std::move(text));
  }
  return lines;
}

}  // namespace

bool TopView::press(char key) {
  switch (key) {
    case 'q':
    case 'Q':
    case '\x04':  // end of input
      return false;
    case 'n':
      rows = Rows::kNodes;
      break;
    case 'c':
      rows = Rows::kCounters;
      break;
    case 's':
      sort = static_cast<Sort>((static_cast<std::size_t>(sort) + 1) % kSorts);
      break;
    case ' ':
      stands = !stands;
      break;
    default:
      break;
  }
  return true;
}

std::string top_text(const TopView& view, const std::string& head, const std::vector<NodeView>& now,
                     const std::optional<Earlier>& earlier, const Screen& screen) {
  std::vector<std::string> lines{head, std::string()};
  const auto rows =
      view.rows == TopView::Rows::kNodes ? node_lines(view, now, earlier) : counter_lines(view, now, earlier);
  lines.insert(lines.end(), rows.begin(), rows.end());
  const std::size_t room = std::max(screen.rows, 2U) - 1;
  if (lines.size() > room) lines.resize(room);
  lines.resize(room);
  lines.push_back(fmt::format("{}{}", kKeys, view.stands ? "  (stands still)" : ""));
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    text += lines[i].substr(0, screen.columns);
    if (i + 1 != lines.size()) text += '\n';
  }
  return text;
}

}  // namespace dsm::tools
