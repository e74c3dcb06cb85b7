#include <dsm/dsm.h>
#include <fmt/core.h>

#include <cstdlib>

#include "bench/micro/object_parts.h"
#include "support/command_line.h"

namespace dsm::bench {
namespace {

int run_part(const std::vector<ObjectPart>& parts, const std::string& name, const std::string& rows_file, bool quick) {
  for (const ObjectPart& part : parts) {
    if (part.name != name) continue;
    if (dsm::start()) return 69;
    ObjectContext context{quick, std::getenv("DSM_EMULATE") != nullptr, {}};
    part.run(context);
    meet();
    return dsm::node() != 0 || write_rows(rows_file, context.rows) ? 0 : 74;
  }
  return 64;
}

}  // namespace

int object_bench(const char* name, const char* about, const std::vector<ObjectPart>& parts, int argc, char** argv) {
  bool quick = false, json = false;
  std::string part, rows_file, only, emulate;
  if (const char* set = std::getenv("DSM_EMULATE")) emulate = set;
  dsm::support::CommandLine app(about);
  app.flag("--quick", quick, "smaller and shorter");
  app.flag("--json", json, "one JSON object a row instead of the table");
  app.option("--only", only, "only the parts whose names begin so");
  app.option("--emulate", emulate, "a network's cost on every operation, as dsmrun's option");
  app.option("--part", part, "what one node of a part's job runs").hidden();
  app.option("--rows", rows_file).hidden();
  if (const auto status = app.parse(argc, argv)) return *status;
  if (!part.empty()) return run_part(parts, part, rows_file, quick);

  bool good = true;
  std::vector<Row> rows;
  const std::string bin = program_folder().string();
  for (const ObjectPart& one : parts) {
    if (!only.empty() && !one.name.starts_with(only)) continue;
    fmt::print(stderr, "{}: {} ...\n", name, one.name);
    const auto some = run_for_rows(fmt::format("'{}/dsmrun' -n {} {} -- '{}/{}' --part {}{}", bin, one.nodes,
                                               emulate.empty() ? "" : "--emulate " + emulate, bin, name, one.name,
                                               quick ? " --quick" : ""));
    if (some.empty()) fmt::print(stderr, "{}: {} failed\n", name, one.name);
    good &= !some.empty();
    rows.insert(rows.end(), some.begin(), some.end());
  }
  print_rows(rows, json);
  return good ? 0 : 1;
}

}  // namespace dsm::bench
