// The reports of a small job whose events are made up: what must be in them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "advise/charts.h"
#include "advise/reports.h"

namespace dsm::advise {
namespace {

using insight::What;

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++found;
  return found;
}

// Two nodes fault on one page, then one of them waits for a lock; the job takes one second.
Report small_report() {
  Report report;
  report.seconds = 1;
  report.nodes = 2;
  report.engines = "uffd-inline";
  report.faults = 3;
  report.samples = 4;
  Suggestion one;
  one.pattern = Pattern::kFalseSharing;
  one.hint = Hint::kBorrowMut;
  one.faults = 3;
  one.now_s = 0.5;
  one.site = {{"make<int>", "/a/b/make.cpp", 7, "", 0, false}};
  one.accesses = {{{{"use<int>", "/a/b/use.cpp", 12, "", 0, false}}, 0, What::kWriteFault, 3, 5e8}};
  report.suggestions = {one};
  report.places = {"/a/b/use.cpp:12 use<int>", "/a/b/main.cpp:3 main"};
  report.events = {{0, 11, 100'000'000, 50'000'000, 1, What::kWriteFault, 42, 0x2000, 0, {0, 1}},
                   {1, 12, 100'000'000, 50'000'000, 3, What::kReadFault, 42, 0x2040, 0, {0, 1}},
                   {1, 12, 900'000'000, 25'000'000, 1, What::kLockWait, 900, 0x9000, 0, {1}}};
  report.counts = {{"software", {{"context_switches", 5}}}, {"", {}}};
  return report;
}

TEST(HeatMap, ACellIsSplitBetweenTheNodesThatFaulted) {
  const std::string map = heat_map_svg(small_report());
  EXPECT_EQ(count(map, "<title>page 0x2a, 0.100 s, false-sharing\nnode 0: 1 faults\nnode 1: 3 faults</title>"), 2);
  EXPECT_EQ(map.find("0.900 s"), std::string::npos) << "a wait for a lock is no page's fault";
}

TEST(FlameGraph, WidthsAreShares) {
  const std::string flames = flame_graph_svg(small_report());
  EXPECT_EQ(count(flames, "/a/b/main.cpp:3 main\n225.0 ms, 100.0 %"), 1);
  EXPECT_EQ(count(flames, "use&lt;int&gt;\n200.0 ms, 88.9 %"), 1);
  EXPECT_EQ(count(flames, "lock wait\n25.0 ms, 11.1 %"), 1);
}

TEST(Timeline, TimeIsSpreadOverTheColumnsThatItCovers) {
  const std::string lanes = timeline_svg(small_report());
  EXPECT_GE(count(lanes, "write fault: 100 % of the time"), 7);  // 50 ms in columns of 6.7 ms
  EXPECT_EQ(count(lanes, "node 1, 1 thread<"), 1);
}

TEST(Html, IsOneFileAndSafe) {
  const std::string page = html_text(small_report(), "<job>");
  EXPECT_EQ(count(page, "<svg "), 3);
  EXPECT_EQ(count(page, "</svg>"), 3);
  EXPECT_EQ(page.find("<job>"), std::string::npos);
  EXPECT_EQ(page.find("src="), std::string::npos);
  EXPECT_EQ(page.find("href="), std::string::npos);
  EXPECT_NE(page.find("By the kernel (software events)"), std::string::npos);
}

TEST(Html, AJobWithoutFaultsHasAReport) {
  Report report;
  report.nodes = 1;
  EXPECT_NE(html_text(report, "job").find("No faults were looked at"), std::string::npos);
}

TEST(Trace, EverySampleIsACompleteEventOfItsThread) {
  const auto trace = nlohmann::json::parse(trace_text(small_report()));
  int complete = 0;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    ++complete;
    if (event["name"] != "lock wait") continue;
    EXPECT_EQ(event["pid"], 1);
    EXPECT_EQ(event["tid"], 12);
    EXPECT_DOUBLE_EQ(event["ts"], 900'000);
    EXPECT_DOUBLE_EQ(event["dur"], 25'000);
  }
  EXPECT_EQ(complete, 3);
}

}  // namespace
}  // namespace dsm::advise
