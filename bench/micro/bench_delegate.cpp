// bench_delegate: object mode beside page mode and plain memory, in one run. As bench_page, the driver starts a job for
// each part with dsmrun (this same program with --part), over shm or with an emulated network; node 0 reports.
#include <dsm/hints.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "bench/micro/delegate_parts.h"

namespace dsm::bench {
namespace {

const std::vector<ObjectPart>& parts() {
  static const std::vector<ObjectPart> all{
      {"posted", 2, random_updates},
      {"waiting", 2, waiting_calls},
      {"contended-4", 4, contended},
      {"hand-over", 2, hand_over},
  };
  return all;
}

int run_part(const std::string& name, const std::string& rows_file, bool quick) {
  for (const ObjectPart& part : parts()) {
    if (part.name != name) continue;
    if (dsm::start()) return 69;
    ObjectContext context{quick, std::getenv("DSM_EMULATE") != nullptr, {}};
    part.run(context);
    meet();
    if (dsm::node() != 0) return 0;
    std::ofstream out(rows_file);
    for (const Row& row : context.rows) out << row.to_json() << '\n';
    return out.flush() ? 0 : 74;
  }
  return 64;
}

std::vector<Row> start(const ObjectPart& part, const std::string& emulate, bool quick) {
  const auto bin = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  const auto file = std::filesystem::temp_directory_path() / fmt::format("bench_delegate.{}", ::getpid());
  std::filesystem::remove(file);
  const std::string command = fmt::format("'{}/dsmrun' -n {} {} -- '{}/bench_delegate' --part {} --rows '{}'{}",
                                          bin.string(), part.nodes, emulate.empty() ? "" : "--emulate " + emulate,
                                          bin.string(), part.name, file.string(), quick ? " --quick" : "");
  const int status = std::system(command.c_str());
  std::vector<Row> rows;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) rows.push_back(from_json(line));
  std::filesystem::remove(file);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) rows.clear();
  return rows;
}

}  // namespace

void meet() {
  static dsm::barrier* const barrier = [] {
    if (dsm::node() == 0) dsm::publish("all nodes", dsm::make<dsm::barrier>(dsm::nodes()));
    return static_cast<dsm::barrier*>(dsm::lookup("all nodes"));
  }();
  barrier->arrive_and_wait();
}

std::byte* shared_block(const char* name, std::size_t bytes, unsigned home) {
  if (dsm::node() == 0) dsm::publish(name, dsm::alloc(bytes, kPage, dsm::on_node(home)));
  auto* const block = static_cast<std::byte*>(dsm::lookup(name));
  if (block == nullptr) std::exit(69);
  return block;
}

}  // namespace dsm::bench

int main(int argc, char** argv) {
  bool quick = false, json = false;
  std::string part, rows_file, only, emulate;
  if (const char* set = std::getenv("DSM_EMULATE")) emulate = set;
  CLI::App app("Work that goes to the data, beside page mode and plain memory.");
  app.add_flag("--quick", quick, "smaller and shorter");
  app.add_flag("--json", json, "one JSON object a row instead of the table");
  app.add_option("--only", only, "only the parts whose names begin so");
  app.add_option("--emulate", emulate, "a network's cost on every operation, as dsmrun's option");
  app.add_option("--part", part, "what one node of a part's job runs")->group("");
  app.add_option("--rows", rows_file)->group("");
  CLI11_PARSE(app, argc, argv);
  if (!part.empty()) return dsm::bench::run_part(part, rows_file, quick);

  bool good = true;
  std::vector<dsm::bench::Row> rows;
  for (const auto& one : dsm::bench::parts()) {
    if (!only.empty() && !one.name.starts_with(only)) continue;
    std::fprintf(stderr, "bench_delegate: %s ...\n", one.name.c_str());
    const auto some = dsm::bench::start(one, emulate, quick);
    if (some.empty()) std::fprintf(stderr, "bench_delegate: %s failed\n", one.name.c_str());
    good &= !some.empty();
    rows.insert(rows.end(), some.begin(), some.end());
  }
  if (json) {
    for (const auto& row : rows) std::puts(row.to_json().c_str());
  } else {
    dsm::bench::print_table(rows);
  }
  return good ? 0 : 1;
}
