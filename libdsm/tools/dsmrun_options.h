// dsmrun's command line.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dsm::tools {

// A job on several hosts: this is what one host's dsmrun is told.
struct HostsRequest {
  unsigned hosts = 1;
  unsigned host = 0;
  std::string rendezvous;
  std::string key_file;
  unsigned wait_s = 60;
};

struct Request {
  unsigned nodes = 0;  // on this host
  HostsRequest hosts;
  std::optional<unsigned> threads;
  bool prefix = true;
  bool preload = false;    // the program knows nothing of libdsm: start it on libdsm_preload.so
  bool automatic = false;  // what helps at run time without a change of the program
  std::string auto_from;   // an earlier run's profile, by which allocation sites are served; "" for none
  bool stats = false;
  std::string stats_json;                      // a file's name; "" for none
  std::map<std::string, std::string> options;  // DSM_* variable -> value, only what was given
  std::vector<std::string> program;            // with its arguments; never empty
};

// Nothing if all has been said already (help, or what is wrong) and dsmrun is to end with `exit_code`.
std::optional<Request> parse_command_line(int argc, char** argv, int& exit_code);

}  // namespace dsm::tools
