#include "tools/dsmrun_options.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/config.h"
#include "base/types.h"
#include "cluster/endings.h"
#include "cluster/say.h"

namespace dsm::tools {

namespace {

constexpr unsigned kMaxThreads = 1024;

constexpr const char* kAbout =
    "Runs N processes of a program as the nodes of one job: they share a global heap at the same address. They run on\n"
    "this host, or N on each of several hosts (--hosts).\n"
    "A program that does not use libdsm is just started N times.\n";

constexpr const char* kNotes = R"(
Output: each line of a node's stdout and stderr comes whole, behind "[node] ". Node 0 gets dsmrun's stdin, the others an
empty one. With one node the program has dsmrun's own stdin, stdout and stderr.

Signals: SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to the nodes. A second SIGINT kills them.
SIGTSTP (^Z) stops the whole job, SIGCONT (fg, bg) lets it go on.

When a node ends badly (by a signal, with a status other than 0, or without finishing while others run), dsmrun names it
and tells the others, which have a second to end by themselves. Then come SIGTERM and, half a second later, SIGKILL.

Several hosts: dsmrun is started on each with the same --hosts, --rendezvous and key, and its own --host and -n. Nodes are
numbered host by host. The nodes need --transport verbs, since shm ends at the host. Memory nodes are on the hosts with
-n 0, by turns, or on all hosts if none has that; a host with -n 0 needs no program. What one host's dsmrun hears of a
node's end, all do; each ends with the exit code of the job. A host that does not answer for 5 s is lost, and with it the
job. Counters (--stats, --stats-json, dsmstat) are those of this host's nodes. The key proves who may join, and that
nobody changes what launchers say; nothing is encrypted.

Exit code:
  0          all nodes ended with status 0
  128 + s    a node died by signal s
  64         the command line or a DSM_* variable is wrong
  69         this machine lacks something: memory, address space, a limit, a kernel feature
  70         dsmrun itself failed
  71         a node could not reach another one, or that broke the message protocol; the line before names it
  76         a node left the job without finishing while others ran, or a host was lost
  126, 127   the program cannot be executed; there is no such program
  any other  the status of the first node that did not exit with 0

Examples:
  dsmrun -n 4 -- ./stencil 4096               four nodes
  dsmrun -n 2 -t 8 -- ./stencil 4096          each told to use eight threads (DSM_THREADS, OMP_NUM_THREADS)
  dsmrun -n 4 --engine sigsegv -- ./stencil   choose how page faults are handled
  dsmrun -n 1 --memory-nodes 2 --local-memory 256M -- ./sort    all but 256 MiB of its memory lies on two memory nodes
  dsmrun -n 4 --emulate rdma -- ./stencil     with the latency and bandwidth of an RDMA network
  dsmrun --hosts 2 --host 0 --rendezvous 10.5.0.1:7070 --key-file job.key --transport verbs -n 2 -- ./stencil
  dsmrun --hosts 2 --host 1 --rendezvous 10.5.0.1:7070 --key-file job.key --transport verbs -n 2 -- ./stencil
                                              two nodes on each of two hosts; the key: (umask 077; head -c 32
                                              /dev/urandom >job.key), copied to both
  dsmrun --hosts 2 --host 1 ... -n 0 --memory-nodes 2 --local-memory 256M
                                              memory nodes alone, for the program that host 0 runs with the same options
  dsmrun -n 4 --profile job.profile -- ./stencil; dsmrun -n 4 --auto-from job.profile -- ./stencil
                                              what can be done without a change of the program (dsm-advise: with one)
  dsmrun --preload -- redis-server            an unmodified program, its heap in the global range
  dsmrun -n 4 --stats -- ./stencil            print every counter of every node at the end
  dsmstat                                     look at the running job from another terminal
)";

// What CLI11 collects; everything is text until it has been checked, so that complaints come in one voice.
struct Raw {
  std::string nodes;
  std::string threads;
  std::string hosts;
  std::string host;
  std::string rendezvous;
  std::string key_file;
  std::string wait;
  std::string stats_json;
  std::string auto_from;
  bool no_prefix = false;
  bool preload = false;
  bool automatic = false;
  bool stats = false;
  std::vector<std::string> values;  // in the order of option_table()
};

// "memory_nodes" -> "--memory-nodes"
std::string switch_of(const OptionInfo& option) {
  std::string name = fmt::format("--{}", option.name);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

void declare(CLI::App& app, Raw& raw) {
  app.prefix_command();  // the first word that is no option begins the program
  app.set_help_flag("-h,--help", "print this and exit");
  app.add_option(
         "-n,--nodes", raw.nodes,
         fmt::format("number of nodes, 1 to {}; with --hosts: of this host, 0 for memory nodes alone", kMaxNodes))
      ->type_name("N");
  app.add_option("-t,--threads", raw.threads,
                 "threads each node's program is to use: sets DSM_THREADS and OMP_NUM_THREADS")
      ->type_name("T");
  const char* const several = "A job on several hosts: dsmrun is started on each";
  app.add_option("--hosts", raw.hosts, fmt::format("number of hosts, 2 to {}", kMaxNodes))
      ->type_name("H")
      ->group(several);
  app.add_option("--host", raw.host, "which of them this is, from 0 on; host 0 leads")->type_name("I")->group(several);
  app.add_option("--rendezvous", raw.rendezvous, "where host 0 listens and the others connect, on all hosts the same")
      ->type_name("ADDRESS:PORT")
      ->group(several);
  app.add_option("--key-file", raw.key_file, "the job's key, 16 bytes or more, on all hosts the same; chmod 600")
      ->type_name("FILE")
      ->group(several);
  app.add_option("--wait", raw.wait, "seconds to wait for the other hosts (default: 60)")
      ->type_name("S")
      ->group(several);
  app.add_flag(
      "--preload", raw.preload,
      "put an unmodified program's heap into the global range (libdsm_preload.so); one node unless -n says so");
  app.add_flag("--auto", raw.automatic,
               "for programs without hints: nodes that fight over pages take turns of some milliseconds, in which they "
               "keep what they go on writing (--keep-us)");
  app.add_option("--auto-from", raw.auto_from,
                 "as --auto, and serves allocation sites by what a profile of an earlier run of the same build says "
                 "(--profile): blocks that are shared falsely on pages of their own (--apart-memory), blocks that one "
                 "other node uses there, blocks that all use spread over the nodes")
      ->type_name("FILE");
  app.add_flag("--no-prefix", raw.no_prefix, "do not put \"[node] \" before each line of output");
  app.add_flag("--stats", raw.stats, "at the end, print all counters of every node to stderr");
  app.add_option("--stats-json", raw.stats_json, "at the end, write the counters to FILE as JSON")->type_name("FILE");
  raw.values.resize(option_table().size());
  for (std::size_t i = 0; i < option_table().size(); ++i) {
    const OptionInfo& option = option_table()[i];
    const std::string shown = *option.default_text == '\0' ? "none" : option.default_text;
    app.add_option(switch_of(option), raw.values[i], fmt::format("{} (default: {})", option.help, shown))
        ->type_name("X")
        ->group("Options of the nodes (each can also be set as a variable DSM_NAME, which the option overrides)");
  }
}

std::string help_text(const CLI::App& app) {
  std::string text = app.help();
  const std::size_t usage = text.find("Usage:");
  const std::size_t end = text.find('\n', usage);
  text.replace(usage, end - usage, "Usage: dsmrun -n N [options] [--] program [arguments]");
  return text + kNotes;
}

// "" if `text` is a whole number from `least` to `most`, which `number` becomes then.
std::string read_count(const char* what, const std::string& text, unsigned least, unsigned most, unsigned& number) {
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc{} && rest == end && number >= least && number <= most) return "";
  return fmt::format("the number of {} must be a whole number from {} to {}, not \"{}\"", what, least, most, text);
}

// "" if all is well.
std::string read_hosts(const CLI::App& app, const Raw& raw, HostsRequest& hosts) {
  if (app.count("--hosts") == 0) {
    for (const char* name : {"--host", "--rendezvous", "--key-file", "--wait"}) {
      if (app.count(name) > 0) return fmt::format("{} is for a job on several hosts: say how many, --hosts H", name);
    }
    return "";
  }
  for (const char* name : {"--host", "--rendezvous", "--key-file"}) {
    if (app.count(name) == 0) return fmt::format("a job on several hosts needs {}, too", name);
  }
  if (auto wrong = read_count("hosts", raw.hosts, 1, kMaxNodes, hosts.hosts); !wrong.empty()) return wrong;
  if (hosts.hosts < 2) return "several hosts are two at the least; leave --hosts away for one";
  const char* const end = raw.host.data() + raw.host.size();
  const auto [rest, error] = std::from_chars(raw.host.data(), end, hosts.host);
  if (error != std::errc{} || rest != end || hosts.host >= hosts.hosts) {
    return fmt::format("--host must be a whole number from 0 to {}, not \"{}\"", hosts.hosts - 1, raw.host);
  }
  if (app.count("--wait") > 0) {
    if (auto wrong = read_count("seconds to wait", raw.wait, 1, 86'400, hosts.wait_s); !wrong.empty()) return wrong;
  }
  hosts.rendezvous = raw.rendezvous;
  hosts.key_file = raw.key_file;
  return "";
}

// "" if all is well.
std::string read_request(const CLI::App& app, const Raw& raw, Request& request) {
  request.program = app.remaining();
  if (!request.program.empty() && request.program.front() == "--") {
    request.program.erase(request.program.begin());
  } else if (!request.program.empty() && request.program.front().starts_with('-')) {
    const std::string& word = request.program.front();
    const std::string name =
        word.substr(word.find_first_not_of('-') == std::string::npos ? 0 : word.find_first_not_of('-'));
    return fmt::format("{}: {}", word, complain(name.substr(0, name.find('=')), ""));
  }
  request.preload = raw.preload;
  request.nodes = 1;
  if (raw.nodes.empty() && !raw.preload) return "say how many nodes the job is to have: -n N";
  if (auto wrong = read_hosts(app, raw, request.hosts); !wrong.empty()) return wrong;
  const unsigned least = request.hosts.hosts > 1 ? 0 : 1;
  if (!raw.nodes.empty()) {
    if (auto wrong = read_count("nodes", raw.nodes, least, kMaxNodes, request.nodes); !wrong.empty()) return wrong;
  }
  if (app.count("--threads") > 0) {
    unsigned threads = 0;
    if (auto wrong = read_count("threads", raw.threads, 1, kMaxThreads, threads); !wrong.empty()) return wrong;
    request.threads = threads;
  }
  for (std::size_t i = 0; i < raw.values.size(); ++i) {
    const OptionInfo& option = option_table()[i];
    if (app.count(switch_of(option)) == 0) continue;
    if (auto wrong = complain(option.name, raw.values[i]); !wrong.empty()) {
      return fmt::format("{} {}: {}", switch_of(option), raw.values[i], wrong);
    }
    request.options[option.variable] = raw.values[i];
  }
  request.prefix = !raw.no_prefix;
  request.automatic = raw.automatic || app.count("--auto-from") > 0;
  request.auto_from = raw.auto_from;
  request.stats = raw.stats;
  request.stats_json = raw.stats_json;
  const bool needed = request.nodes != 0;
  return needed && request.program.empty() ? "say which program to run, after the options: dsmrun -n 4 -- program" : "";
}

}  // namespace

std::optional<Request> parse_command_line(int argc, char** argv, int& exit_code) {
  CLI::App app(kAbout, "dsmrun");
  Raw raw;
  declare(app, raw);
  std::string wrong;
  Request request;
  try {
    app.parse(argc, argv);
    wrong = read_request(app, raw, request);
  } catch (const CLI::CallForHelp&) {
    std::fputs(help_text(app).c_str(), stdout);
    exit_code = 0;
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    wrong = error.what();
  }
  if (wrong.empty()) return request;
  cluster::say("{} (dsmrun --help tells more)", wrong);
  exit_code = cluster::kExitUsage;
  return std::nullopt;
}

}  // namespace dsm::tools
