#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <set>

#include "advise/charts.h"
#include "advise/reports.h"

namespace dsm::advise {
namespace {

constexpr std::size_t kShown = 10;  // suggestions
constexpr std::size_t kFrames = 4;
constexpr std::size_t kAccesses = 4;

constexpr const char* kStyle = R"(
body { font: 14px/1.45 system-ui, sans-serif; color: #222; max-width: 1200px; margin: 24px auto; padding: 0 20px; }
h1 { font-size: 22px; margin-bottom: 2px; } h2 { font-size: 17px; margin: 32px 0 6px; }
p, .note { color: #555; margin: 2px 0 10px; } code { font: 12.5px ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; color: #555; }
th, td { padding: 5px 10px 5px 0; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; }
.pattern { display: inline-block; padding: 0 7px; border-radius: 9px; background: #e8eef6; white-space: nowrap; }
.hint { font-weight: 600; } .less { color: #777; font-size: 12.5px; overflow-wrap: anywhere; }
.bar { height: 5px; background: #e15759; min-width: 1px; } .bar.then { background: #59a14f; }
svg { display: block; }
)";

std::string frames_html(const std::vector<Frame>& frames) {
  std::string text;
  for (std::size_t i = 0; i < std::min(frames.size(), kFrames); ++i) {
    text += fmt::format("{}<code>{}</code>", i == 0 ? "" : " &larr; ", escaped(short_text(frames[i].text())));
  }
  return text.empty() ? "not known" : text;
}

std::string accesses_html(const Suggestion& of) {
  std::string text;
  const auto all = static_cast<double>(std::max<std::uint64_t>(of.fault_ns + of.lock_wait_ns, 1));
  for (std::size_t i = 0; i < std::min(of.accesses.size(), kAccesses); ++i) {
    const AccessLine& access = of.accesses[i];
    text += fmt::format("<div class=\"less\">{:.0f} % {}s: {}</div>\n", std::min(access.fault_ns / all * 100, 100.0),
                        name_of(access.what), frames_html(access.frames));
  }
  return text;
}

std::string by_itself_html(const Suggestion& of) {
  if (!of.automatic) return "";
  return fmt::format("<div class=\"less\">unchanged, dsmrun --auto-from: {}</div>",
                     escaped(automatic_text(*of.automatic)));
}

std::string hint_html(const Suggestion& of) {
  if (of.hint == Hint::kNone || of.line().empty()) {
    return of.hint == Hint::kNone ? "none" : std::string(name_of(of.hint)) + ", no line is known";
  }
  std::string text = fmt::format("<span class=\"hint\">{}</span> at <code>{}</code>", name_of(of.hint),
                                 escaped(short_text(of.line())));
  for (const std::string& line : of.more_lines()) text += fmt::format(", <code>{}</code>", escaped(short_text(line)));
  text += fmt::format("<div class=\"less\">{}</div>", escaped(advice_for(of.hint)));
  if (of.also != Hint::kNone) text += fmt::format("<div class=\"less\">or {}</div>", escaped(advice_for(of.also)));
  return text;
}

std::string suggestion_row(const Report& report, std::size_t rank, const Suggestion& of) {
  const double job = std::max(report.seconds, 1e-9);
  const auto bar = [&](double seconds, const char* kind) {
    return fmt::format("<div class=\"bar {}\" style=\"width:{:.1f}%\"></div>", kind,
                       std::min(seconds / job, 1.0) * 100);
  };
  return fmt::format(
      "<tr><td class=\"number\">{}</td><td><span class=\"pattern\">{}</span><div class=\"less\">{:.0f} % of the "
      "cost<br>"
      "pages: {}, nodes: {}</div></td><td><div class=\"less\">allocated: {}</div>\n{}</td><td>{}</td>"
      "<td class=\"number\">{:.3f} s{}<div class=\"less\">{} faults<br>{} waits, {} for locks<br>{:.1f} MiB</div></td>"
      "<td class=\"number\">{:.3f} s{}<div class=\"less\">job {:.2f}x as<br>fast at best</div></td></tr>\n",
      rank, name_of(of.pattern), of.pattern_share * 100, of.pages, std::popcount(of.nodes), frames_html(of.site),
      accesses_html(of), hint_html(of) + by_itself_html(of), of.now_s, bar(of.now_s, "now"), of.faults, of.waits,
      of.lock_waits, static_cast<double>(of.bytes) / (1 << 20), of.then_s, bar(of.then_s, "then"),
      job / std::max(job - (of.now_s - of.then_s), 1e-9));
}

std::string suggestions_html(const Report& report) {
  std::string text =
      "<table><tr><th class=\"number\">#</th><th>pattern</th><th>memory, and where it is touched</th><th>hint</th>"
      "<th class=\"number\">costs now</th><th class=\"number\">predicted</th></tr>\n";
  const std::size_t shown = std::min(report.suggestions.size(), kShown);
  for (std::size_t i = 0; i < shown; ++i) text += suggestion_row(report, i + 1, report.suggestions[i]);
  text += "</table>\n";
  if (shown < report.suggestions.size()) {
    text += fmt::format("<p>and {} more, which cost less</p>\n", report.suggestions.size() - shown);
  }
  return text;
}

std::string counts_html(const Report& report) {
  std::set<std::string> names;
  std::string source;
  for (const NodeCounts& node : report.counts) {
    if (source.empty()) source = node.source;
    for (const auto& [name, value] : node.values) names.insert(name);
  }
  if (names.empty()) return "<p>Nothing was counted: the nodes were killed, or may not count.</p>\n";
  std::string text = source == "hardware"
                         ? "<p>By the processor, through libpfm4, and by the kernel.</p>\n<table><tr><th></th>"
                         : "<p>By the kernel (software events): this machine shows no hardware counters, or has no "
                           "libpfm4.</p>\n<table><tr><th></th>";
  for (const std::string& name : names) text += fmt::format("<th class=\"number\">{}</th>", escaped(name));
  text += "</tr>\n";
  for (std::size_t node = 0; node < report.counts.size(); ++node) {
    text += fmt::format("<tr><td>node {}</td>", node);
    for (const std::string& name : names) {
      const auto& values = report.counts[node].values;
      const auto found = std::find_if(values.begin(), values.end(), [&](const auto& one) { return one.first == name; });
      text += fmt::format("<td class=\"number\">{}</td>", found == values.end() ? "" : std::to_string(found->second));
    }
    text += "</tr>\n";
  }
  return text + "</table>\n";
}

std::string section(const char* title, const char* note, const std::string& body) {
  return fmt::format("<h2>{}</h2>\n<p class=\"note\">{}</p>\n{}", title, note, body);
}

}  // namespace

std::string html_text(const Report& report, const std::string& title) {
  std::string text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title><style>{1}</style></head>\n"
      "<body>\n<h1>{0}</h1>\n<p>{2} nodes, {3:.3f} s, engine {4}: {5} faults, of which {6} were looked at closely; "
      "that took {7:.1f} ms of all threads together.</p>\n",
      escaped(title), kStyle, report.nodes, report.seconds, escaped(report.engines), report.faults, report.samples,
      static_cast<double>(report.stacks_ns) / 1e6);
  text += section("Suggestions",
                  "What would gain most comes first. Predictions are the best case: only accesses that "
                  "faulted are known.",
                  suggestions_html(report));
  text +=
      section("Pages over time",
              "A row is a page, or some that lie together, under the suggestion that it belongs to. A cell is as dark "
              "as there were faults, and split between the nodes that had them.",
              heat_map_svg(report));
  text += section("What each node did", "The share of its threads' time that faults and waits for locks took.",
                  timeline_svg(report));
  text += section("Where the time goes",
                  "Time of faults and of waits for locks, by the program's functions; the outermost at the bottom.",
                  flame_graph_svg(report));
  text += section("Counters", "From each node's start to its end.",
                  counts_html(report) + (report.addresses.source.empty() && report.addresses.error == 0
                                             ? ""
                                             : "<p>" + escaped(addresses_text(report.addresses)) + "</p>\n"));
  return text + "</body></html>\n";
}

}  // namespace dsm::advise
