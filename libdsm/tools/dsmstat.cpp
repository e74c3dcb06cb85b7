// dsmstat: shows a running job's counters. It reads them through a read-only descriptor that dsmrun hands out; the job
// does not notice.
#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cluster/endings.h"
#include "cluster/stats_client.h"
#include "tools/stats_json.h"
#include "tools/stats_prometheus.h"
#include "tools/stats_view.h"
#include "tools/terminal.h"

namespace dsm::tools {

namespace {

using cluster::JobName;
using cluster::JobView;

struct Request {
  std::optional<pid_t> job;
  bool json = false;
  bool prometheus = false;
  bool once = false;
  bool list = false;
  double interval_s = 1;
};

template <typename... Args>
int complain_and(int exit_code, fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "dsmstat: {}\n", fmt::format(format, std::forward<Args>(args)...));
  return exit_code;
}

// "" for what can be a pid.
std::string complaint_about_pid(const std::string& text) {
  pid_t pid = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, pid);
  if (read.ec == std::errc{} && read.ptr == end && pid > 0) return "";
  return fmt::format("{} is no pid; wanted is that of the job's dsmrun, which dsmstat --list shows", text);
}

bool may_look_at(const JobName& job) { return ::geteuid() == 0 || job.user == ::geteuid(); }

std::string list_text(const std::vector<JobName>& jobs) {
  std::string text;
  for (const JobName& name : jobs) {
    if (!may_look_at(name)) {
      text += fmt::format("{:>8}  of user {}\n", name.launcher, name.user);
    } else if (const auto job = cluster::open_job(name)) {
      text +=
          fmt::format("{:>8}  {} node{}  {}\n", name.launcher, job->nodes, job->nodes == 1 ? "" : "s", job->program);
    } else {
      text += fmt::format("{:>8}  {}\n", name.launcher, describe(job.error()));
    }
  }
  return text;
}

int list(const Request& request, const std::vector<JobName>& jobs) {
  if (request.json) {
    auto json = nlohmann::ordered_json::array();
    for (const JobName& name : jobs) {
      auto one = nlohmann::ordered_json{{"job", name.launcher}, {"user", name.user}};
      if (const auto job = may_look_at(name) ? cluster::open_job(name) : fail(Errc::kNoSupport, "")) {
        one["nodes"] = job->nodes;
        one["program"] = job->program;
      }
      json.push_back(std::move(one));
    }
    fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  } else {
    fmt::print("{}", jobs.empty() ? "no job is running on this host\n" : list_text(jobs));
  }
  return 0;
}

double running_s(const JobView& job) { return static_cast<double>(now_ns() - job.started_ns) / 1e9; }

std::string line_json(const JobView& job, const std::vector<NodeView>& now, const std::optional<Earlier>& earlier) {
  nlohmann::ordered_json json{{"job", job.launcher}, {"program", job.program}, {"running_s", running_s(job)}};
  json.update(stats_json(now));
  if (earlier) {
    json["interval_s"] = earlier->seconds;
    for (std::size_t node = 0; node < now.size(); ++node) {
      json["nodes"][node]["rates"] = rates_json(rates_of(earlier->nodes[node], now[node], earlier->seconds));
    }
    json["total"]["rates"] = rates_json(rates_of(total_of(earlier->nodes), total_of(now), earlier->seconds));
  }
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

std::string screen_text(const JobView& job, const std::vector<NodeView>& now, const std::optional<Earlier>& earlier) {
  std::string text = fmt::format("job {}: {}, {} node{}, running for {:.1f} s\n", job.launcher, job.program, job.nodes,
                                 job.nodes == 1 ? "" : "s", running_s(job));
  for (std::size_t node = 0; node < now.size(); ++node) {
    const NodeView& view = now[node];
    text += view.pid == 0 ? fmt::format("  node {}: has not joined\n", node)
                          : fmt::format("  node {}: pid {}, engine {}\n", node, view.pid,
                                        view.engine.empty() ? "not chosen yet" : view.engine);
  }
  return text + '\n' + table_text(now, earlier);
}

// On a terminal, until the job or the user ends it. A key is answered at once, with the reading that there is.
int watch(const Request& request, const JobView& job) {
  Terminal terminal;
  TopView view;
  std::optional<Earlier> earlier;
  std::vector<NodeView> now;
  std::int64_t read_ns = 0;
  const auto interval_ns = static_cast<std::int64_t>(request.interval_s * 1e9);
  for (;;) {
    if (!view.stands && now_ns() - read_ns >= interval_ns) {
      auto next = read_stats(job.counters.get(), job.nodes);
      if (!next) return complain_and(cluster::kExitUnavailable, "job {}: {}", job.launcher, describe(next.error()));
      const std::int64_t time_ns = now_ns();
      if (read_ns != 0) earlier = Earlier{std::move(now), static_cast<double>(time_ns - read_ns) / 1e9};
      now = std::move(*next);
      read_ns = time_ns;
    }
    const std::string head = fmt::format("job {}: {}, {} node{}, running for {:.1f} s", job.launcher, job.program,
                                         job.nodes, job.nodes == 1 ? "" : "s", running_s(job));
    terminal.show(top_text(view, head, now, earlier, terminal.screen()));
    const std::int64_t left_ms = std::clamp<std::int64_t>((read_ns + interval_ns - now_ns()) / 1'000'000, 1, 1000);
    for (const char key : terminal.keys(static_cast<int>(left_ms), job.connection.get())) {
      if (!view.press(key)) return 0;
    }
    if (cluster::job_has_ended(job)) break;
  }
  return 0;
}

int follow(const Request& request, const JobView& job) {
  if (Terminal::there() && !request.once && !request.json && !request.prometheus) {
    const int exit_code = watch(request, job);
    return cluster::job_has_ended(job) && exit_code == 0 ? complain_and(0, "job {} has ended", job.launcher)
                                                         : exit_code;
  }
  const bool clear = ::isatty(STDOUT_FILENO) == 1 && !request.once && !request.json;
  std::optional<Earlier> earlier;
  std::int64_t earlier_ns = 0;
  for (;;) {
    const bool ended = cluster::job_has_ended(job);  // before the reading, which is then the last
    const auto now = read_stats(job.counters.get(), job.nodes);
    const std::int64_t time_ns = now_ns();
    if (!now) return complain_and(cluster::kExitUnavailable, "job {}: {}", job.launcher, describe(now.error()));
    if (earlier) earlier->seconds = static_cast<double>(time_ns - earlier_ns) / 1e9;
    if (clear) fmt::print("\x1b[H\x1b[2J");
    if (request.prometheus) {
      fmt::print("{}", prometheus_text(job.launcher, *now));
      return 0;
    }
    fmt::print("{}", request.json ? line_json(job, *now, earlier) : screen_text(job, *now, earlier));
    if (std::fflush(stdout) != 0 || request.once) return 0;  // a reader who has left is no error
    if (ended) return complain_and(0, "job {} has ended", job.launcher);
    earlier = Earlier{*now, 0};
    earlier_ns = time_ns;
    pollfd end{job.connection.get(), POLLIN, 0};
    ::poll(&end, 1, static_cast<int>(request.interval_s * 1000));
  }
}

int run(const Request& request) {
  auto jobs = cluster::list_jobs();
  if (!jobs) return complain_and(cluster::kExitUnavailable, "{}", describe(jobs.error()));
  if (request.list) return list(request, *jobs);
  if (request.job) {
    std::erase_if(*jobs, [&](const JobName& job) { return job.launcher != *request.job; });
    if (jobs->empty()) {
      return complain_and(
          cluster::kExitUnavailable,
          "there is no job {}; it may have ended, or the number is not its dsmrun's pid (dsmstat --list)",
          *request.job);
    }
  } else {
    std::erase_if(*jobs, [](const JobName& job) { return !may_look_at(job); });
    if (jobs->empty()) {
      return complain_and(cluster::kExitUnavailable, "no job of yours is running on this host; start one with dsmrun");
    }
    if (jobs->size() > 1) {
      return complain_and(cluster::kExitUsage, "several jobs are running; say which one: dsmstat PID\n{}",
                          list_text(*jobs));
    }
  }
  const JobName& name = jobs->front();
  if (!may_look_at(name)) {
    return complain_and(cluster::kExitUnavailable, "job {} is of user {}; only they and root may look at it",
                        name.launcher, name.user);
  }
  const auto job = cluster::open_job(name);
  if (!job) {
    return complain_and(cluster::kExitUnavailable, "job {}: {}", name.launcher,
                        job.error().code == Errc::kNotFound ? "it has just ended" : describe(job.error()));
  }
  return follow(request, *job);
}

constexpr const char* kNotes = R"(
Shows, for every node and for all together, what has been counted since the job's start and how much of it a second; and
how long faults and waits took. JOB is the pid of its dsmrun, and may be left out if one job is running. It ends when the
job does, with exit code 0.

On a terminal single keys choose what is shown: n a line for each node, c one for each counter, s by what they are sorted
(as they come, faults, waits, bytes, locks, borrows), space keeps the reading that is shown, q ends.

Examples:
  dsmstat                      watch the only job
  dsmstat 4711 --interval 0.2  watch that one, five times a second
  dsmstat --once --json        one reading as JSON
  dsmstat --prometheus         the same for Prometheus (its node exporter's textfile collector reads such files)
  dsmstat --list               which jobs there are
)";

}  // namespace

}  // namespace dsm::tools

int main(int argc, char** argv) {
  using namespace dsm::tools;
  try {
    Request request;
    CLI::App app("Shows the counters of a job that dsmrun has started on this host.", "dsmstat");
    app.set_help_flag("-h,--help", "print this and exit");
    app.add_option("JOB", request.job, "pid of the job's dsmrun")->type_name("")->check(complaint_about_pid);
    app.add_flag("--json", request.json, "one JSON object a line instead of a table");
    app.add_flag("--prometheus", request.prometheus, "one reading in Prometheus' text format, and end");
    app.add_flag("--once", request.once, "show it once and end");
    app.add_flag("--list", request.list, "show which jobs are running, and end");
    app.add_option("--interval", request.interval_s, "seconds between two readings (default: 1)")
        ->type_name("S")
        ->check(CLI::Range(0.01, 3600.0));
    app.footer(kNotes);
    try {
      app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
      fmt::print("{}", app.help());
      return 0;
    } catch (const CLI::ParseError& error) {
      return complain_and(dsm::cluster::kExitUsage, "{} (dsmstat --help tells more)", error.what());
    }
    return run(request);
  } catch (const std::exception& error) {
    return complain_and(dsm::cluster::kExitInternal, "internal error: {}", error.what());
  }
}
