#include <dsm/dsm.h>
#include <fmt/core.h>

#include <cstdlib>

#include "bench/micro/object_parts.h"

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
  JobRequest request;
  std::string only, emulate;
  if (const char* set = std::getenv("DSM_EMULATE")) emulate = set;
  dsm::support::CommandLine app(about);
  declare(app, request);
  app.option("--only", only, "only the parts whose names begin so");
  app.option("--emulate", emulate, "a network's cost on every operation, as dsmrun's option");
  if (const auto status = app.parse(argc, argv)) return *status;
  if (!request.part.empty()) return run_part(parts, request.part, request.rows_file, request.quick);

  bool good = true;
  std::vector<Row> rows;
  const std::string bin = program_folder().string();
  for (const ObjectPart& one : parts) {
    if (!only.empty() && !one.name.starts_with(only)) continue;
    fmt::print(stderr, "{}: {} ...\n", name, one.name);
    const auto some = run_for_rows(fmt::format("'{}/dsmrun' -n {} {} -- '{}/{}' --part {}{}", bin, one.nodes,
                                               emulate.empty() ? "" : "--emulate " + emulate, bin, name, one.name,
                                               request.quick ? " --quick" : ""));
    if (some.empty()) fmt::print(stderr, "{}: {} failed\n", name, one.name);
    good &= !some.empty();
    rows.insert(rows.end(), some.begin(), some.end());
  }
  print_rows(rows, request.json);
  return good ? 0 : 1;
}

}  // namespace dsm::bench
