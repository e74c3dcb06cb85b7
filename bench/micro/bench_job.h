// What the benches share that run each of their parts as a job of its own: the driver starts dsmrun with this same
// program and --part; node 0 of the job writes its rows to a file, the driver gathers them.
#pragma once

#include <dsm/sync.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/micro/bench_rows.h"
#include "support/command_line.h"

namespace dsm::bench {

inline constexpr std::size_t kPage = 4096;
using Clock = std::chrono::steady_clock;

// --- within a part ---------------------------------------------------------------------------------------------------

// The barrier of all nodes, and all nodes in step.
dsm::barrier& all_nodes();
void meet();
// Node 0 makes it, every node gets it.
std::byte* shared_block(const char* name, std::size_t bytes, unsigned home);

// --- between a part and the driver -----------------------------------------------------------------------------------

// What a benchmark that runs jobs of itself takes: --quick, --json, and hidden ones for those jobs.
struct JobRequest {
  bool quick = false, json = false;
  std::string part, rows_file;  // what one node of a part's job runs, and where its rows go
};
void declare(support::CommandLine& cli, JobRequest& request, const std::string& quick_means = "smaller and shorter");

bool write_rows(const std::string& file, const std::vector<Row>& rows);
// The folder of this program and of dsmrun.
std::filesystem::path program_folder();
// Runs a command that ends with `--rows FILE`, which this adds; its rows. None: it failed.
std::vector<Row> run_for_rows(const std::string& command);
// As a table, or one JSON object a line.
void print_rows(const std::vector<Row>& rows, bool json);

}  // namespace dsm::bench
