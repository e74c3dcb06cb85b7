// The trace event format: one complete event ("X") a sample, times in microseconds.
#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "advise/reports.h"

namespace dsm::advise {
namespace {

using Json = nlohmann::ordered_json;

Json name_event(const char* what, unsigned node, std::uint32_t tid, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", node}, {"tid", tid}, {"args", {{"name", name}}}};
}

Json event_json(const Report& report, const Event& event) {
  Json stack = Json::array();
  for (const std::uint32_t place : event.stack) stack.push_back(report.places[place]);
  const Suggestion& of = report.suggestions[event.suggestion];
  Json arguments{{"address", fmt::format("{:#x}", event.address)},
                 {"stands_for", event.weight},
                 {"pattern", name_of(of.pattern)},
                 {"site", of.site.empty() ? "" : of.site.front().text()},
                 {"stack", std::move(stack)}};
  return {{"name", name_of(event.what)},
          {"cat", event.what == insight::What::kLockWait ? "lock" : "fault"},
          {"ph", "X"},
          {"ts", static_cast<double>(event.at_ns) / 1e3},
          {"dur", static_cast<double>(event.ns) / 1e3},
          {"pid", event.node},
          {"tid", event.tid},
          {"args", std::move(arguments)}};
}

}  // namespace

std::string trace_text(const Report& report) {
  Json events = Json::array();
  std::set<std::pair<unsigned, std::uint32_t>> threads;
  for (const Event& event : report.events) threads.emplace(event.node, event.tid);
  for (unsigned node = 0; node < report.nodes; ++node) {
    events.push_back(name_event("process_name", node, 0, fmt::format("node {}", node)));
  }
  for (const auto& [node, tid] : threads) {
    events.push_back(name_event("thread_name", node, tid, fmt::format("thread {}", tid)));
  }
  for (const Event& event : report.events) events.push_back(event_json(report, event));
  const Json trace{{"traceEvents", std::move(events)}, {"displayTimeUnit", "ns"}};
  return trace.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace dsm::advise
