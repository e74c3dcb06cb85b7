#include "advise/reports.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

namespace dsm::advise {
namespace {

constexpr std::size_t kShownFrames = 3;
constexpr std::size_t kShownAccesses = 3;
constexpr std::string_view kVerbs[] = {"reads ", "writes", "waits "};  // by insight::What

}  // namespace

std::string_view name_of(insight::What what) {
  constexpr std::string_view kNames[] = {"read fault", "write fault", "lock wait"};
  return kNames[static_cast<std::size_t>(what)];
}

std::string short_text(const std::string& text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  std::size_t slash = text.rfind('/', end);
  for (int kept = 0; kept < 1 && slash != std::string::npos && slash != 0; ++kept) slash = text.rfind('/', slash - 1);
  return slash == std::string::npos ? text : text.substr(slash + 1);
}

std::string automatic_text(const insight::Serving& serving) {
  switch (serving.how) {
    case insight::Serve::kApart:
      return "each block on pages of its own";
    case insight::Serve::kNode:
      return fmt::format("its blocks at node {}, which uses them", serving.node);
    case insight::Serve::kSpread:
      break;
  }
  return "its blocks over all nodes, which use them alike";
}

std::string addresses_text(const Addresses& from) {
  if (from.source.empty()) {
    if (from.error == 0) return "";
    const bool refused = from.error == EACCES || from.error == EPERM;
    return fmt::format("no addresses were sampled: {} {}\n", ::strerror(from.error),
                       refused ? "(/proc/sys/kernel/perf_event_paranoid must be 2 or less, or the program needs "
                                 "CAP_PERFMON)"
                               : "(perf_event_open)");
  }
  const std::string_view what = from.source == "software"
                                    ? "addresses at which the kernel saw page faults, since this machine shows no loads"
                                    : "addresses of loads";
  return fmt::format("sampled by {} ({}): {} {}; {} more lost, {} outside of global memory\n", from.source, from.event,
                     from.kept, what, from.lost, from.elsewhere);
}

namespace {

std::string frames_text(const std::vector<Frame>& frames) {
  std::string text;
  for (std::size_t i = 0; i < std::min(frames.size(), kShownFrames); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : " < ", short_text(frames[i].text()));
  }
  return text.empty() ? "not known (no allocation was recorded there)" : text;
}

std::string bytes_text(std::uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes < 1 << 20) return fmt::format("{:.0f} KiB", value / 1024);
  return fmt::format("{:.1f} MiB", value / (1 << 20));
}

double share_of(const Report& report, double seconds) {
  return report.seconds > 0 ? seconds / report.seconds * 100 : 0;
}

std::string suggestion_text(const Report& report, std::size_t rank, const Suggestion& of) {
  std::string text = fmt::format(
      "{}. {} ({:.0f} % of the cost), {} page{}, {} node{}\n"
      "   allocated   {}\n"
      "   costs now   {:.3f} s of the job ({:.0f} %): {} faults, {} of them waited for another node, {} moved\n",
      rank, name_of(of.pattern), of.pattern_share * 100, of.pages, of.pages == 1 ? "" : "s", std::popcount(of.nodes),
      std::popcount(of.nodes) == 1 ? "" : "s", frames_text(of.site), of.now_s, share_of(report, of.now_s), of.faults,
      of.waits, bytes_text(of.bytes));
  if (of.lock_waits != 0) {
    text += fmt::format("   under locks {} waits for locks, {:.3f} s of all threads together\n", of.lock_waits,
                        static_cast<double>(of.lock_wait_ns) / 1e9);
  }
  for (std::size_t i = 0; i < std::min(of.accesses.size(), kShownAccesses); ++i) {
    const AccessLine& access = of.accesses[i];
    const auto all = static_cast<double>(of.fault_ns + of.lock_wait_ns);
    const double part = all == 0 ? 0 : access.fault_ns / all * 100;
    text += fmt::format("   {:<11} {:.0f} % {}  {}\n", i == 0 ? "touched at" : "", std::min(part, 100.0),
                        kVerbs[static_cast<std::size_t>(access.what)], frames_text(access.frames));
  }
  if (of.addresses != 0) {
    text += fmt::format("   sampled     {} addresses{}\n", of.addresses,
                        of.address_line.empty() ? "" : ", most at " + short_text(of.address_line));
  }
  if (of.automatic) {
    text += fmt::format("   unchanged   dsmrun --auto-from serves this site by itself: {}\n",
                        automatic_text(*of.automatic));
  }
  if (of.hint == Hint::kNone || of.line().empty()) {
    return text + fmt::format("   hint        {}\n", of.hint == Hint::kNone ? advice_for(of.hint) : "no line is known");
  }
  const bool called = !of.access_line().empty() && of.access_line() != of.line();
  const std::string inside = called ? fmt::format(" (or inside what it calls, at {})", of.access_line()) : "";
  text += fmt::format(
      "   hint        {} at {}{}\n               {}\n               it would cost {:.3f} s then: "
      "{:.2f} times as fast a job, at best\n",
      name_of(of.hint), of.line(), inside, advice_for(of.hint), of.then_s,
      report.seconds / std::max(report.seconds - (of.now_s - of.then_s), 1e-9));
  for (const std::string& line : of.more_lines()) text += fmt::format("   and at      {}\n", line);
  return text + (of.also == Hint::kNone ? "" : fmt::format("   or          {}\n", advice_for(of.also)));
}

// The processor's counters of all nodes together, or the kernel's.
std::string counts_text(const Report& report) {
  std::map<std::string, std::uint64_t> sums;
  std::string source;
  for (const NodeCounts& node : report.counts) {
    if (source.empty()) source = node.source;
    for (const auto& [name, value] : node.values) sums[name] += value;
  }
  if (sums.empty()) return "";
  std::string text;
  for (const auto& [name, value] : sums) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value);
  const std::string_view why =
      source == "software" ? " (this machine shows no hardware counters, or has no libpfm4)" : "";
  return fmt::format("counted by {}{}: {}\n", source, why, text);
}

nlohmann::ordered_json frames_json(const std::vector<Frame>& frames) {
  auto list = nlohmann::ordered_json::array();
  for (const Frame& frame : frames) {
    list.push_back({{"function", frame.function},
                    {"file", frame.file},
                    {"line", frame.line},
                    {"module", frame.module},
                    {"offset", frame.offset}});
  }
  return list;
}

nlohmann::ordered_json suggestion_json(const Suggestion& of) {
  nlohmann::ordered_json json{{"pattern", name_of(of.pattern)},
                              {"pattern_share", of.pattern_share},
                              {"hint", name_of(of.hint)},
                              {"line", of.line()},
                              {"more_lines", of.more_lines()},
                              {"access_line", of.access_line()},
                              {"text", advice_for(of.hint)},
                              {"also", name_of(of.also)},
                              {"now_s", of.now_s},
                              {"then_s", of.then_s},
                              {"pages", of.pages},
                              {"blocks", of.blocks},
                              {"nodes", std::popcount(of.nodes)},
                              {"faults", of.faults},
                              {"waits", of.waits},
                              {"lock_waits", of.lock_waits},
                              {"lock_wait_ns", of.lock_wait_ns},
                              {"fault_ns", of.fault_ns},
                              {"bytes_moved", of.bytes},
                              {"automatic", of.automatic ? automatic_text(*of.automatic) : ""},
                              {"addresses", of.addresses},
                              {"address_line", of.address_line},
                              {"site", frames_json(of.site)}};
  auto accesses = nlohmann::ordered_json::array();
  for (const AccessLine& access : of.accesses) {
    accesses.push_back({{"line", access.frames[access.hint_at].place()},
                        {"write", access.what == insight::What::kWriteFault},
                        {"lock_wait", access.what == insight::What::kLockWait},
                        {"faults", access.faults},
                        {"fault_ns", access.fault_ns},
                        {"frames", frames_json(access.frames)}});
  }
  json["accesses"] = std::move(accesses);
  return json;
}

}  // namespace

std::string table_text(const Report& report, std::size_t most) {
  std::string text = fmt::format("{} nodes, {:.3f} s, engine {}: {} faults, of which {} were looked at closely\n",
                                 report.nodes, report.seconds, report.engines, report.faults, report.samples);
  if (report.lost_faults != 0) {
    text +=
        fmt::format("{} faults are missing: more pages were touched than a profile has room for\n", report.lost_faults);
  }
  text += counts_text(report);
  text += addresses_text(report.addresses);
  for (std::size_t i = 0; i < std::min(report.suggestions.size(), most); ++i) {
    text += '\n' + suggestion_text(report, i + 1, report.suggestions[i]);
  }
  if (report.suggestions.size() > most)
    text += fmt::format("\nand {} more (--top)\n", report.suggestions.size() - most);
  return text;
}

std::string json_text(const Report& report) {
  nlohmann::ordered_json json{{"seconds", report.seconds},      {"nodes", report.nodes},
                              {"engine", report.engines},       {"faults", report.faults},
                              {"samples", report.samples},      {"faults_without_record", report.lost_faults},
                              {"sampling_ns", report.stacks_ns}};
  auto list = nlohmann::ordered_json::array();
  for (const Suggestion& suggestion : report.suggestions) list.push_back(suggestion_json(suggestion));
  json["suggestions"] = std::move(list);
  auto counts = nlohmann::ordered_json::array();
  for (const NodeCounts& node : report.counts) {
    nlohmann::ordered_json one{{"source", node.source}};
    for (const auto& [name, value] : node.values) one[name] = value;
    counts.push_back(std::move(one));
  }
  json["counters"] = std::move(counts);
  const Addresses& from = report.addresses;
  json["addresses"] = {{"source", from.source}, {"event", from.event}, {"errno", from.error},
                       {"kept", from.kept},     {"lost", from.lost},   {"elsewhere", from.elsewhere}};
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace dsm::advise
