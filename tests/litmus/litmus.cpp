// Litmus tests of the memory model on real nodes. Started by dsmrun, which also chooses engine and transport.
#include <dsm/dsm.h>
#include <fmt/core.h>

#include <algorithm>
#include <thread>

#include "support/command_line.h"
#include "tests/litmus/runner.h"

namespace {

using litmus::Mode;
using litmus::Placement;
using litmus::Row;

constexpr const char* kAbout =
    R"(Litmus tests: small programs of two to four threads on a few shared variables, run many times on real nodes. Every
outcome is compared with those that an abstract machine can reach: x86-TSO for raw accesses; whole scopes, one after the
other, for borrows. An outcome beyond those is a failure. "relaxed": allowed, but only because of store buffers.

  dsmrun -n 2 -- litmus                                   all tests, modes and placements
  dsmrun -n 4 --engine sigsegv -- litmus --test IRIW --mode raw --iterations 1000000 --verbose
)";

struct Request {
  litmus::Options options;
  std::vector<std::string> tests, modes{"raw", "hinted", "mixed"}, placements{"object", "page", "pages", "homes"};
  std::string json;
  bool need_relaxed = false;
};

struct Case {
  const litmus::Program* program;
  Mode mode;
  Placement placement;
};

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<Case> cases_of(const Request& request) {
  std::vector<Case> cases;
  for (const litmus::Program& program : litmus::all_programs()) {
    if (!request.tests.empty() && !contains(request.tests, program.name)) continue;
    for (std::size_t mode = 0; mode < std::size(litmus::kModes); ++mode) {
      if (!contains(request.modes, litmus::kModes[mode]) || (program.scoped && mode == 0)) continue;
      for (std::size_t place = 0; place < std::size(litmus::kPlacements); ++place) {
        if (!contains(request.placements, litmus::kPlacements[place]) || (program.wide && place != 0)) continue;
        cases.push_back({&program, static_cast<Mode>(mode), static_cast<Placement>(place)});
      }
    }
  }
  return cases;
}

void declare(dsm::support::CommandLine& app, Request& request) {
  std::vector<std::string> names;
  for (const litmus::Program& program : litmus::all_programs()) names.push_back(program.name);
  const auto list = [&](const char* name, std::vector<std::string>& chosen, const char* help, const auto& allowed) {
    app.option(name, chosen, help).list().one_of(allowed);
  };
  list("--test", request.tests, "only these (default: all)", names);
  list("--mode", request.modes, "how variables are used: raw, hinted, mixed", request.modes);
  list("--placement", request.placements, "where they lie: object, page, pages, homes", request.placements);
  litmus::Options& options = request.options;
  app.option("--iterations", options.iterations, "of each test in each mode and placement").positive().show_default();
  app.option("--instances", options.instances, "of a test that run between two barriers")
      .range(1U, litmus::kInstancesMax)
      .show_default();
  app.option("--threads", options.threads, "of each node").range(1U, 8U).show_default();
  app.option("--seed", options.seed, "of all choices").show_default();
  app.option("--json", request.json, "write one JSON object a row to this file");
  app.flag("--need-relaxed", request.need_relaxed,
           "fail unless SB's relaxed outcome was seen: shows that the threads do meet");
  app.flag("--verbose", options.verbose, "print how often each outcome was seen");
}

// All threads of all nodes go through the cases together.
std::vector<Row> run(const Request& request, litmus::Board& board, litmus::Gate& gate, unsigned index) {
  litmus::Worker worker(board, gate, request.options, index);
  std::vector<Row> rows;
  const auto cases = cases_of(request);
  for (unsigned i = 0; i < cases.size(); ++i) {
    rows.push_back(worker.run(*cases[i].program, cases[i].mode, cases[i].placement, i));
    if (index != 0) continue;
    print_row(rows.back());
    std::fflush(stdout);
  }
  return rows;
}

bool saw_relaxed(const std::vector<Row>& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const Row& row) {
    return row.program->name == "SB" && row.mode == Mode::kRaw && row.relaxed_one_node > 0;
  });
}

int report(const Request& request, const std::vector<Row>& rows) {
  bool good = litmus::print_sums(rows);
  if (request.need_relaxed && !saw_relaxed(rows)) {
    fmt::print(stderr,
               "litmus: SB's relaxed outcome was never seen, so the threads did not meet; more --iterations?\n");
    good = false;
  }
  if (!request.json.empty() && !litmus::write_json(request.json, rows)) {
    fmt::print(stderr, "litmus: cannot write {}\n", request.json);
    good = false;
  }
  return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Request request;
  dsm::support::CommandLine app{kAbout, "litmus"};
  declare(app, request);
  if (const auto status = app.parse(argc, argv)) return *status;
  if (dsm::start()) return 1;
  const unsigned workers = dsm::nodes() * request.options.threads;
  if (workers < litmus::kRolesMax || workers > litmus::kWorkersMax) {
    fmt::print(stderr, "litmus: the tests need {} to {} threads in all, and there are {}; change -n or --threads\n",
               litmus::kRolesMax, litmus::kWorkersMax, workers);
    return 64;
  }
  if (dsm::node() == 0) {
    (void)dsm::publish("board", litmus::build(request.options));
    litmus::print_head();
  }
  auto& board = *static_cast<litmus::Board*>(dsm::lookup("board"));
  litmus::Gate gate;
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < request.options.threads; ++i) {
    threads.emplace_back([&, i] { run(request, board, gate, dsm::node() * request.options.threads + i); });
  }
  const std::vector<Row> rows = run(request, board, gate, dsm::node() * request.options.threads);
  for (std::thread& thread : threads) thread.join();
  return dsm::node() == 0 ? report(request, rows) : 0;
}
