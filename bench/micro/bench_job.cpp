#include "bench/micro/bench_job.h"

#include <dsm/dsm.h>
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace dsm::bench {

void declare(support::CommandLine& cli, JobRequest& request, const std::string& quick_means) {
  cli.flag("--quick", request.quick, quick_means);
  cli.flag("--json", request.json, "one JSON object a row instead of the table");
  cli.option("--part", request.part).hidden();
  cli.option("--rows", request.rows_file).hidden();
}

dsm::barrier& all_nodes() {
  static dsm::barrier* const barrier = [] {
    if (dsm::node() == 0) dsm::publish("all nodes", dsm::make<dsm::barrier>(dsm::nodes()));
    return static_cast<dsm::barrier*>(dsm::lookup("all nodes"));
  }();
  return *barrier;
}

void meet() { all_nodes().arrive_and_wait(); }

std::byte* shared_block(const char* name, std::size_t bytes, unsigned home) {
  if (dsm::node() == 0) dsm::publish(name, dsm::alloc(bytes, kPage, dsm::on_node(home)));
  auto* const block = static_cast<std::byte*>(dsm::lookup(name));
  if (block == nullptr) {
    fmt::print(stderr, "no memory for {} bytes\n", bytes);
    std::exit(69);
  }
  return block;
}

bool write_rows(const std::string& file, const std::vector<Row>& rows) {
  std::ofstream out(file);
  for (const Row& row : rows) out << row.to_json() << '\n';
  return static_cast<bool>(out.flush());
}

std::filesystem::path program_folder() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

std::vector<Row> run_for_rows(const std::string& command) {
  const auto file = std::filesystem::temp_directory_path() / fmt::format("bench_rows.{}", ::getpid());
  std::filesystem::remove(file);
  const int status = std::system(fmt::format("{} --rows '{}'", command, file.string()).c_str());
  std::vector<Row> rows;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) rows.push_back(from_json(line));
  std::filesystem::remove(file);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) rows.clear();
  return rows;
}

void print_rows(const std::vector<Row>& rows, bool json) {
  if (!json) return print_table(rows);
  for (const Row& row : rows) std::puts(row.to_json().c_str());
}

}  // namespace dsm::bench
