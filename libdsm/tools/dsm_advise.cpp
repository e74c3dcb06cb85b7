// dsm-advise: reads the profile of a job that was run with dsmrun --profile, and says where to add which hint.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>

#include "advise/advice.h"
#include "advise/reports.h"
#include "cluster/endings.h"

namespace dsm::tools {
namespace {

constexpr const char* kNotes = R"(
Each suggestion is a place where memory was allocated, how the nodes share it, what that costs, the lines that touch it, and
the hint to add at one of them. First comes what would gain most. What is predicted is the best case: a profile knows
the accesses that faulted, and not those that would have come between.

A site that dsmrun --auto-from can serve by itself, from this profile, says so ("unchanged").

Build the program with -g (or -g1) to see files and lines; they are read by addr2line, which is in binutils. Without
them, or stripped, it is exported symbols and offsets.

Examples:
  dsmrun -n 4 --profile job.dsmprof -- ./program
  dsmrun -n 4 --auto-from job.dsmprof -- ./program
  dsm-advise job.dsmprof              the first suggestions, as text
  dsm-advise job.dsmprof --json       all of them
  dsm-advise job.dsmprof --html report.html --trace trace.json
)";

struct Request {
  std::string file;
  std::size_t top = 5;
  bool json = false;
  std::string html;
  std::string trace;
};

// False, and told, if it cannot be written.
bool write_file(const std::string& name, const std::string& text) {
  std::ofstream file(name, std::ios::binary);
  file << text;
  file.close();
  if (!file) fmt::print(stderr, "dsm-advise: cannot write {}: {}; name another file\n", name, ::strerror(errno));
  return bool(file);
}

int run(const Request& request) {
  const auto file = advise::ProfileFile::open(request.file);
  if (!file) {
    fmt::print(stderr, "dsm-advise: {}: {}\n", request.file, describe(file.error()));
    return cluster::kExitUsage;
  }
  advise::Symbols symbols(**file);
  const advise::Report report = advise::analyse(**file, symbols);
  if (!symbols.found_addr2line()) {
    fmt::print(stderr, "dsm-advise: addr2line cannot be run: there are no files and lines; install binutils\n");
  }
  const std::string title = std::filesystem::path(request.file).filename().string();
  if (!request.html.empty() && !write_file(request.html, advise::html_text(report, title))) return cluster::kExitUsage;
  if (!request.trace.empty() && !write_file(request.trace, advise::trace_text(report))) return cluster::kExitUsage;
  fmt::print("{}", request.json ? advise::json_text(report) : advise::table_text(report, request.top));
  return 0;
}

}  // namespace
}  // namespace dsm::tools

int main(int argc, char** argv) {
  try {
    dsm::tools::Request request;
    CLI::App app("Says where a job spent its time on sharing memory, and which hint to add where.", "dsm-advise");
    app.set_help_flag("-h,--help", "print this and exit");
    app.add_option("PROFILE", request.file, "the file of dsmrun --profile")->type_name("")->required();
    app.add_option("--top", request.top, "how many suggestions (default: 5)")
        ->type_name("N")
        ->check(CLI::Range(1, 1000));
    app.add_flag("--json", request.json, "everything as JSON");
    app.add_option("--html", request.html,
                   "also writes the report for a browser: pages over time, flame graph, timelines")
        ->type_name("FILE");
    app.add_option("--trace", request.trace, "also writes the samples for chrome://tracing or ui.perfetto.dev")
        ->type_name("FILE");
    app.footer(dsm::tools::kNotes);
    try {
      app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
      fmt::print("{}", app.help());
      return 0;
    } catch (const CLI::ParseError& error) {
      fmt::print(stderr, "dsm-advise: {} (dsm-advise --help tells more)\n", error.what());
      return dsm::cluster::kExitUsage;
    }
    return dsm::tools::run(request);
  } catch (const std::exception& error) {
    fmt::print(stderr, "dsm-advise: internal error: {}\n", error.what());
    return dsm::cluster::kExitInternal;
  }
}
