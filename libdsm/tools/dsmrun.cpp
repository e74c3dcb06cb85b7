// dsmrun: starts a program as the nodes of a job. This file turns the command line into a JobSpec and the counters into
// what was asked for; the job itself is libdsm/cluster.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "advise/plan.h"
#include "base/config.h"
#include "base/log.h"
#include "cluster/control.h"
#include "cluster/endings.h"
#include "cluster/preflight.h"
#include "cluster/regions.h"
#include "cluster/say.h"
#include "cluster/supervise.h"
#include "hosts/meeting.h"
#include "hosts/sockets.h"
#include "mem/fault_engine.h"
#include "tools/dsmrun_options.h"
#include "tools/preload_library.h"
#include "tools/stats_json.h"
#include "tools/stats_view.h"

namespace dsm::tools {

namespace {

using cluster::Obstacle;
using cluster::say;

// Descriptors 0, 1 and 2 must be something, or a pipe of ours would become a node's stdout by accident.
void open_standard_streams() {
  int fd = -1;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

// With --auto: as long as two hundred hand-overs, and longer than a time slice: where nodes share CPUs, one whose turn it
// is may have to wait for a CPU first.
constexpr const char* kAutomaticKeepUs = "8000";

// What the nodes find in their environment.
void export_options(const Request& request) {
  for (const auto& [variable, value] : request.options) ::setenv(variable.c_str(), value.c_str(), 1);
  if (request.automatic) ::setenv("DSM_KEEP_US", kAutomaticKeepUs, 0);
  // A job inside a node of another is a job of its own.
  for (const char* variable : {"DSM_CONTROL_FD", "DSM_HOST_ADDRESS"}) ::unsetenv(variable);
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

// Who takes part: all nodes, those of this host, and the way to the other hosts if there are any.
struct Participants {
  unsigned nodes;
  NodeSet local;
  std::optional<hosts::JobKey> key{};
  std::unique_ptr<cluster::OtherHosts> hosts{};
};

// Waits for the other hosts. The obstacle is for the user.
tl::expected<std::unique_ptr<Participants>, Obstacle> meet_hosts(const Request& request, const Config& config) {
  if (config.transport != "verbs") {
    return tl::unexpected(Obstacle{cluster::kExitUsage,
                                   fmt::format("transport {} joins the nodes of one host only; a job on several hosts "
                                               "needs --transport verbs",
                                               config.transport)});
  }
  auto key = hosts::JobKey::read(request.hosts.key_file);
  if (!key) return tl::unexpected(Obstacle{cluster::kExitUsage, key.error()});
  auto made = std::make_unique<Participants>(Participants{0, 0, std::move(*key)});
  const hosts::Plan plan{request.hosts.hosts,
                         request.hosts.host,
                         request.nodes,
                         static_cast<unsigned>(config.memory_nodes),
                         request.hosts.rendezvous,
                         cluster::same_options(config),
                         static_cast<int>(request.hosts.wait_s)};
  auto met = hosts::meet(plan, *made->key);
  if (!met) return tl::unexpected(met.error());
  made->nodes = met->places.nodes();
  made->local = met->places.of(plan.host);
  ::setenv("DSM_HOST_ADDRESS", hosts::own_address_of(met->channels.front().fd()).c_str(), 1);
  auto others = hosts::make_other_hosts(plan.host, std::move(*met));
  if (!others) return tl::unexpected(others.error());
  made->hosts = std::move(*others);
  return made;
}

tl::expected<std::unique_ptr<Participants>, Obstacle> find_participants(const Request& request, const Config& config) {
  const unsigned nodes = request.nodes + static_cast<unsigned>(config.memory_nodes);
  if (nodes > kMaxNodes) {
    return tl::unexpected(
        Obstacle{cluster::kExitUsage,
                 fmt::format("{} nodes and {} memory nodes are more than the {} that a job may have; use fewer",
                             request.nodes, config.memory_nodes, kMaxNodes)});
  }
  if (request.hosts.hosts > 1) return meet_hosts(request, config);
  return std::make_unique<Participants>(Participants{nodes, (NodeSet{1} << nodes) - 1});
}

// What memory nodes run: dsm-memory-node, beside dsmrun.
cluster::Program lender_program() {
  const std::string path = std::filesystem::read_symlink("/proc/self/exe").replace_filename("dsm-memory-node").string();
  return {path, {path}};
}

tl::expected<cluster::Program, Obstacle> program_of(const Request& request) {
  if (request.nodes == 0) return lender_program();  // the program need not be on this host
  auto path = cluster::find_program(request.program.front());
  if (!path) return tl::unexpected(path.error());
  cluster::Program program{*path, request.program};
  if (!request.preload) return program;
  auto preload = preload_for(*path);
  if (!preload) return tl::unexpected(preload.error());
  program.environment.push_back(std::move(*preload));
  return program;
}

std::optional<Obstacle> engine_obstacle(const Config& config) {
  if (config.engine == "auto") return std::nullopt;
  const std::string obstacle = mem::engine_obstacle(config.engine);
  if (obstacle.empty()) return std::nullopt;
  return Obstacle{cluster::kExitUnavailable,
                  fmt::format("--engine {} cannot run here: {}; leave the choice to --engine "
                              "auto",
                              config.engine, obstacle)};
}

int refuse(const Obstacle& obstacle) {
  say("{}", obstacle.text);
  return obstacle.exit_code;
}

// The counters, in the forms that were asked for.
void show_stats(const Request& request, const cluster::JobOutcome& outcome, unsigned nodes, std::ofstream& json_file) {
  if (!outcome.stats || (!request.stats && !json_file.is_open())) return;
  const auto counters = read_stats(outcome.stats.get(), nodes);
  if (!counters) return say("{}", describe(counters.error()));
  if (request.stats) fmt::print(stderr, "{}", table_text(*counters));
  if (json_file.is_open()) write_json(json_file, request, outcome.exit_code, *counters);
}

// The nodes' file, by a name that holds wherever they run, and empty: what an earlier job left must not show through.
bool prepare_profile() {
  const char* const named = std::getenv("DSM_PROFILE");
  if (named == nullptr || *named == '\0') return true;
  const std::string file = std::filesystem::absolute(named).string();
  ::setenv("DSM_PROFILE", file.c_str(), 1);
  const cluster::UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) say("cannot write {}: {}; name another file for --profile", file, ::strerror(errno));
  return bool(fd);
}

// Tells the nodes how allocation sites are to be served. False: what is wrong with the profile has been said.
bool prepare_sites(const Request& request) {
  if (request.auto_from.empty() || request.program.empty()) return true;
  const unsigned nodes = request.hosts.hosts > 1 ? 0 : request.nodes;  // of the others it is not known yet
  const std::string& program = request.program.front();
  const auto path = cluster::find_program(program);
  const auto marks = advise::marks_for({request.auto_from, path ? *path : program, nodes});
  if (!marks) {
    say("--auto-from {}: {}", request.auto_from, marks.error());
    return false;
  }
  if (marks->empty()) say("--auto-from {}: no allocation site is served otherwise than without it", request.auto_from);
  ::setenv("DSM_SITES", marks->c_str(), 1);
  return true;
}

int run(const Request& request) {
  export_options(request);
  if (!prepare_sites(request) || !prepare_profile()) return cluster::kExitUsage;
  auto config = read_config();
  if (!config) return cluster::kExitUsage;  // said already
  set_log(static_cast<LogLevel>(config->log), -1);
  const auto program = program_of(request);
  if (!program) return refuse(program.error());
  if (const auto obstacle = engine_obstacle(*config)) return refuse(*obstacle);
  std::ofstream json_file;
  if (!request.stats_json.empty()) {
    json_file.open(request.stats_json);
    if (!json_file) {
      say("cannot write {}: {}; name another file for --stats-json", request.stats_json, ::strerror(errno));
      return cluster::kExitUsage;
    }
  }
  const auto participants = find_participants(request, *config);
  if (!participants) return refuse(participants.error());
  const unsigned nodes = (*participants)->nodes;
  fit_default_slice(*config, nodes);
  const Geometry geometry = cluster::geometry_of(*config, nodes);
  if (const auto obstacle = cluster::find_obstacle(geometry)) return refuse(*obstacle);

  const auto outcome = cluster::run_job({*config, geometry, *program, lender_program(), request.prefix,
                                         (*participants)->local, (*participants)->hosts.get()});
  show_stats(request, outcome, nodes, json_file);
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
