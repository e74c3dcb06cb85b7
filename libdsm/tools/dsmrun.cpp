// dsmrun: starts a program as the nodes of a job. This file turns the command line into a JobSpec and the counters into
// what was asked for; the job itself is libdsm/cluster.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "base/config.h"
#include "base/log.h"
#include "cluster/endings.h"
#include "cluster/preflight.h"
#include "cluster/regions.h"
#include "cluster/say.h"
#include "cluster/supervise.h"
#include "mem/fault_engine.h"
#include "tools/dsmrun_options.h"
#include "tools/preload_library.h"
#include "tools/stats_json.h"
#include "tools/stats_view.h"

namespace dsm::tools {

namespace {

using cluster::say;

// Descriptors 0, 1 and 2 must be something, or a pipe of ours would become a node's stdout by accident.
void open_standard_streams() {
  int fd = -1;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

// What the nodes find in their environment.
void export_options(const Request& request) {
  for (const auto& [variable, value] : request.options) ::setenv(variable.c_str(), value.c_str(), 1);
  ::unsetenv("DSM_CONTROL_FD");  // a job inside a node of another is a job of its own
  if (!request.threads) return;
  const std::string threads = std::to_string(*request.threads);
  ::setenv("DSM_THREADS", threads.c_str(), 1);
  ::setenv("OMP_NUM_THREADS", threads.c_str(), 1);
}

// The default slice is for few nodes; with many it is made to fit, unless the user has named a size.
void fit_default_slice(Config& config, unsigned nodes) {
  if (std::getenv("DSM_SLICE") != nullptr) return;
  const std::uint64_t slice = cluster::largest_slice(cluster::geometry_of(config, nodes));
  if (slice == static_cast<std::uint64_t>(config.slice)) return;
  config.slice = static_cast<std::int64_t>(slice);
  ::setenv("DSM_SLICE", std::to_string(slice).c_str(), 1);
  log(LogLevel::kInfo, "dsmrun", "slices are {} MiB so that {} nodes fit the address space", slice >> 20, nodes);
}

void write_json(std::ofstream& file, const Request& request, int exit_code, const std::vector<NodeView>& nodes) {
  nlohmann::ordered_json json;
  json["program"] = request.program;
  json["exit_code"] = exit_code;
  json.update(stats_json(nodes));
  file << json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
  file.close();
  if (!file) say("cannot write {}: {}", request.stats_json, ::strerror(errno));
}

// What memory nodes run: dsm-memory-node, beside dsmrun.
std::string lender_program() {
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename("dsm-memory-node").string();
}

int run(const Request& request) {
  export_options(request);
  auto config = read_config();
  if (!config) return cluster::kExitUsage;  // said already
  set_log(static_cast<LogLevel>(config->log), -1);
  auto program = cluster::find_program(request.program.front());
  if (!program) {
    say("{}", program.error().text);
    return program.error().exit_code;
  }
  std::vector<std::string> environment;
  if (request.preload) {
    auto preload = preload_for(*program);
    if (!preload) {
      say("{}", preload.error().text);
      return preload.error().exit_code;
    }
    environment.push_back(std::move(*preload));
  }
  const unsigned all_nodes = request.nodes + static_cast<unsigned>(config->memory_nodes);
  if (all_nodes > kMaxNodes) {
    say("{} nodes and {} memory nodes are more than the {} that a job may have; use fewer", request.nodes,
        config->memory_nodes, kMaxNodes);
    return cluster::kExitUsage;
  }
  fit_default_slice(*config, all_nodes);
  const Geometry geometry = cluster::geometry_of(*config, all_nodes);
  if (const auto obstacle = cluster::find_obstacle(geometry)) {
    say("{}", obstacle->text);
    return obstacle->exit_code;
  }
  if (config->engine != "auto") {
    if (const std::string obstacle = mem::engine_obstacle(config->engine); !obstacle.empty()) {
      say("--engine {} cannot run here: {}; leave the choice to --engine auto", config->engine, obstacle);
      return cluster::kExitUnavailable;
    }
  }
  std::ofstream json_file;
  if (!request.stats_json.empty()) {
    json_file.open(request.stats_json);
    if (!json_file) {
      say("cannot write {}: {}; name another file for --stats-json", request.stats_json, ::strerror(errno));
      return cluster::kExitUsage;
    }
  }

  const std::string lender = lender_program();
  const auto outcome = cluster::run_job({*config,
                                         geometry,
                                         {*program, request.program, environment},
                                         {lender, {lender}},
                                         request.prefix,
                                         (NodeSet{1} << all_nodes) - 1,
                                         nullptr});
  if (!outcome.stats || (!request.stats && !json_file.is_open())) return outcome.exit_code;
  const auto nodes = read_stats(outcome.stats.get(), all_nodes);
  if (!nodes) {
    say("{}", describe(nodes.error()));
    return outcome.exit_code;
  }
  if (request.stats) fmt::print(stderr, "{}", table_text(*nodes));
  if (json_file.is_open()) write_json(json_file, request, outcome.exit_code, *nodes);
  return outcome.exit_code;
}

}  // namespace

}  // namespace dsm::tools

int main(int argc, char** argv) {
  try {
    dsm::tools::open_standard_streams();
    int exit_code = 0;
    const auto request = dsm::tools::parse_command_line(argc, argv, exit_code);
    return request ? dsm::tools::run(*request) : exit_code;
  } catch (const std::exception& error) {
    dsm::cluster::say("internal error: {}", error.what());
    return dsm::cluster::kExitInternal;
  }
}
