#include "advise/charts.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "advise/reports.h"

namespace dsm::advise {
namespace {

constexpr double kWidth = 1160;
constexpr double kLeft = 230;  // labels
constexpr double kPlot = kWidth - kLeft - 10;
constexpr double kAxis = 24;
constexpr std::size_t kColumns = 150;
constexpr std::size_t kRows = 90;   // of the heat map, about
constexpr std::size_t kSites = 10;  // in it
constexpr double kLane = 64;        // height of a node's timeline
constexpr double kFrame = 19;       // height of a frame in the flame graph
constexpr double kLetter = 6.3;     // width
constexpr std::array<const char*, 3> kWhatColours{"#4e79a7", "#e15759", "#b07aa1"};  // by insight::What

std::string colour_of(unsigned node) {
  constexpr std::array<const char*, 8> kFirst{"#4477aa", "#ee6677", "#228833", "#ccbb44",
                                              "#66ccee", "#aa3377", "#ee8833", "#777777"};
  return node < kFirst.size() ? kFirst[node] : fmt::format("hsl({:.0f},55%,50%)", std::fmod(node * 137.5, 360));
}

std::string svg(double height, const std::string& inside) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" font-family=\"system-ui,sans-serif\" "
      "font-size=\"11\" width=\"100%\">\n{}</svg>\n",
      kWidth, height, inside);
}

std::string text_at(double x, double y, const std::string& text, const char* anchor = "start",
                    const char* colour = "#333") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" fill=\"{}\">{}</text>\n", x, y, anchor, colour,
                     escaped(text));
}

std::string box(double x, double y, double width, double height, const std::string& colour, double opacity,
                const std::string& title) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" fill=\"{}\" fill-opacity=\"{:.2f}\">"
      "<title>{}</title></rect>\n",
      x, y, width, height, colour, opacity, escaped(title));
}

// Squares with what their colours mean.
std::string legend(double y, const std::vector<std::pair<std::string, std::string>>& meanings) {
  std::string text;
  double x = kLeft;
  for (const auto& [colour, meaning] : meanings) {
    text += box(x, y, 11, 11, colour, 1, meaning) + text_at(x + 16, y + 10, meaning);
    x += 34 + kLetter * static_cast<double>(meaning.size());
  }
  return text;
}

std::string time_axis(double y, double seconds) {
  std::string text;
  for (int tick = 0; tick <= 5; ++tick) {
    const double x = kLeft + kPlot * tick / 5;
    text += fmt::format("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" stroke=\"#888\"/>\n", x, y,
                        y + 4);
    text += text_at(x, y + 16, fmt::format("{:.3g} s", seconds * tick / 5), tick == 5 ? "end" : "middle");
  }
  return text;
}

std::size_t column_of(const Report& report, std::int64_t at_ns) {
  const double share = report.seconds > 0 ? static_cast<double>(at_ns) / 1e9 / report.seconds : 0;
  return std::min(kColumns - 1, static_cast<std::size_t>(std::max(share, 0.0) * kColumns));
}

std::string site_text(const Report& report, std::size_t suggestion) {
  const Suggestion& of = report.suggestions[suggestion];
  return of.site.empty() ? "not known" : short_text(of.site.front().place());
}

// --- pages over time ------------------------------------------------------------------------------------------------

struct Row {
  std::size_t suggestion;
  PageId first, last;
  std::map<std::size_t, std::map<unsigned, double>> faults;  // by column and node
};

std::vector<Row> rows_of(const Report& report) {
  std::map<std::size_t, std::set<PageId>> pages;
  std::size_t count = 0;
  for (const Event& event : report.events) {
    if (event.what == insight::What::kLockWait || event.suggestion >= kSites) continue;
    count += pages[event.suggestion].insert(event.page).second ? 1 : 0;
  }
  const std::size_t together = count / kRows + 1;
  std::vector<Row> rows;
  std::map<std::pair<std::size_t, PageId>, std::size_t> row_of;
  for (const auto& [suggestion, of] : pages) {
    std::size_t number = 0;
    for (const PageId page : of) {
      if (number++ % together == 0) rows.push_back({suggestion, page, page, {}});
      rows.back().last = page;
      row_of[{suggestion, page}] = rows.size() - 1;
    }
  }
  for (const Event& event : report.events) {
    const auto row = row_of.find({event.suggestion, event.page});
    if (event.what == insight::What::kLockWait || row == row_of.end()) continue;
    rows[row->second].faults[column_of(report, event.at_ns)][event.node] += event.weight;
  }
  return rows;
}

std::string cell(const Report& report, const Row& row, std::size_t column, double y, double height, double most) {
  const std::map<unsigned, double>& faults = row.faults.at(column);
  double all = 0;
  for (const auto& [node, count] : faults) all += count;
  std::string title = row.first == row.last ? fmt::format("page {:#x}", row.first)
                                            : fmt::format("pages {:#x} to {:#x}", row.first, row.last);
  title += fmt::format(", {:.3f} s, {}", report.seconds * static_cast<double>(column) / kColumns,
                       name_of(report.suggestions[row.suggestion].pattern));
  for (const auto& [node, count] : faults) title += fmt::format("\nnode {}: {:.0f} faults", node, count);
  const double width = kPlot / kColumns;
  double x = kLeft + width * static_cast<double>(column);
  std::string text;
  for (const auto& [node, count] : faults) {
    text += box(x, y, width * count / all, height, colour_of(node), 0.25 + 0.75 * std::log1p(all) / std::log1p(most),
                title);
    x += width * count / all;
  }
  return text;
}

// --- flame graph ----------------------------------------------------------------------------------------------------

struct Flame {
  double ns = 0;
  std::map<std::string, Flame> callees;
};

std::string flame_boxes(const Flame& flame, const std::string& name, double x, double y, double width, double all) {
  std::string text;
  double colour = 0;
  for (const char letter : name) colour = std::fmod(colour * 31 + letter, 60);
  const bool what = name == "read fault" || name == "write fault" || name == "lock wait";
  const std::string fill = !what ? fmt::format("hsl({:.0f},75%,68%)", colour)
                                 : kWhatColours[name == "read fault"    ? 0
                                                : name == "write fault" ? 1
                                                                        : 2];
  text += box(x, y, width - 0.5, kFrame - 1, fill, 1,
              fmt::format("{}\n{:.1f} ms, {:.1f} %", name, flame.ns / 1e6, flame.ns / all * 100));
  const auto letters = static_cast<std::size_t>(std::max(0.0, (width - 8) / kLetter));
  const std::string shown = short_text(name);
  if (letters >= 4) {
    text += text_at(x + 4, y + 13, shown.size() <= letters ? shown : shown.substr(0, letters - 1) + "\u2026", "start",
                    what ? "#fff" : "#333");
  }
  std::vector<std::pair<std::string, const Flame*>> callees;
  for (const auto& [callee, of] : flame.callees) callees.emplace_back(callee, &of);
  std::stable_sort(callees.begin(), callees.end(),
                   [](const auto& a, const auto& b) { return a.second->ns > b.second->ns; });
  for (const auto& [callee, of] : callees) {
    const double part = width * of->ns / flame.ns;
    if (part >= 1) text += flame_boxes(*of, callee, x, y - kFrame, part, all);
    x += part;
  }
  return text;
}

// In rows, of what takes `least` and is drawn.
std::size_t depth_of(const Flame& flame, double least) {
  std::size_t depth = 0;
  for (const auto& [name, callee] : flame.callees) {
    if (callee.ns >= least) depth = std::max(depth, depth_of(callee, least));
  }
  return depth + 1;
}

// --- what each node did when ----------------------------------------------------------------------------------------

using Lane = std::array<std::array<double, kColumns>, 3>;  // ns, by insight::What

void spread(const Report& report, const Event& event, Lane& lane) {
  const double column_ns = report.seconds * 1e9 / kColumns;
  auto at = static_cast<double>(event.at_ns);
  double left = static_cast<double>(event.ns);
  for (std::size_t column = column_of(report, event.at_ns); column < kColumns && left > 0; ++column) {
    const double here = std::min(left, std::max(column_ns * static_cast<double>(column + 1) - at, 1.0));
    lane[static_cast<std::size_t>(event.what)][column] += here * event.weight;
    left -= here;
    at += here;
  }
}

std::string lane_svg(const Report& report, const Lane& lane, double y, double threads, unsigned node) {
  const double column_ns = report.seconds * 1e9 / kColumns;
  const double width = kPlot / kColumns;
  std::string text =
      fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#f3f3f3\"/>\n", kLeft, y,
                  kPlot, kLane - 8);
  double sum = 0;
  for (std::size_t column = 0; column < kColumns; ++column) {
    double bottom = y + kLane - 8;
    for (std::size_t what = 0; what < lane.size(); ++what) {
      const double share = std::min(1.0, lane[what][column] / column_ns / threads);
      sum += lane[what][column];
      const double height = std::min(share * (kLane - 8), bottom - y);
      if (height < 0.3) continue;
      bottom -= height;
      text += box(kLeft + width * static_cast<double>(column), bottom, width, height, kWhatColours[what], 1,
                  fmt::format("{}: {:.0f} % of the time at {:.3f} s", name_of(static_cast<insight::What>(what)),
                              share * 100, report.seconds * static_cast<double>(column) / kColumns));
    }
  }
  return text_at(kLeft - 8, y + 22, fmt::format("node {}, {:.0f} thread{}", node, threads, threads > 1 ? "s" : ""),
                 "end") +
         text_at(kLeft - 8, y + 38,
                 fmt::format("{:.0f} % of its time", std::min(100.0, sum / (report.seconds * 1e7 * threads))), "end") +
         text;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += letter;
    }
  }
  return safe;
}

std::string heat_map_svg(const Report& report) {
  const std::vector<Row> rows = rows_of(report);
  if (rows.empty()) return "<p>No faults were looked at.</p>\n";
  const double height = std::clamp(420 / static_cast<double>(rows.size()), 5.0, 16.0);
  double most = 1;
  for (const Row& row : rows) {
    for (const auto& [column, faults] : row.faults) {
      double all = 0;
      for (const auto& [node, count] : faults) all += count;
      most = std::max(most, all);
    }
  }
  std::string text;
  double y = 4, labelled = -100;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool first = i == 0 || rows[i].suggestion != rows[i - 1].suggestion;
    if (first && i != 0) y += 7;
    if (first) {
      labelled = std::max(y + 10, labelled + 13);
      const std::string label = fmt::format("{}. {}", rows[i].suggestion + 1, site_text(report, rows[i].suggestion));
      text += text_at(kLeft - 8, labelled, label, "end");
    }
    text += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#f3f3f3\"/>\n",
                        kLeft, y, kPlot, height - 1);
    for (const auto& [column, faults] : rows[i].faults) text += cell(report, rows[i], column, y, height - 1, most);
    y += height;
  }
  y = std::max(y, labelled);
  text += time_axis(y, report.seconds);
  std::vector<std::pair<std::string, std::string>> meanings;
  for (unsigned node = 0; node < report.nodes; ++node)
    meanings.emplace_back(colour_of(node), fmt::format("node {}", node));
  text += legend(y + kAxis, meanings);
  return svg(y + kAxis + 18, text);
}

std::string flame_graph_svg(const Report& report) {
  Flame root;
  for (const Event& event : report.events) {
    Flame* at = &root;
    at->ns += event.cost_ns();
    for (auto place = event.stack.rbegin(); place != event.stack.rend(); ++place) {
      at = &at->callees[report.places[*place]];
      at->ns += event.cost_ns();
    }
    at->callees[std::string(name_of(event.what))].ns += event.cost_ns();
  }
  if (root.ns <= 0) return "<p>No fault took time.</p>\n";
  const double height = kFrame * static_cast<double>(depth_of(root, root.ns / (kWidth - 4)));
  return svg(height + 4, flame_boxes(root, "all faults and waits for locks", 2, height - kFrame, kWidth - 4, root.ns));
}

std::string timeline_svg(const Report& report) {
  std::vector<Lane> lanes(report.nodes);
  std::vector<std::set<std::uint32_t>> threads(report.nodes);
  for (const Event& event : report.events) {
    spread(report, event, lanes[event.node]);
    threads[event.node].insert(event.tid);
  }
  std::string text;
  double y = 4;
  for (unsigned node = 0; node < report.nodes; ++node) {
    text += lane_svg(report, lanes[node], y, std::max<double>(1, static_cast<double>(threads[node].size())), node);
    y += kLane;
  }
  text += time_axis(y - 4, report.seconds);
  text += legend(
      y + kAxis,
      {{kWhatColours[0], "read faults"}, {kWhatColours[1], "write faults"}, {kWhatColours[2], "waits for locks"}});
  return svg(y + kAxis + 18, text);
}

}  // namespace dsm::advise
