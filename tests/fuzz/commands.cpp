// Command lines of dsmrun and dsmstat, and DSM_* variables: anything may be typed; it is understood, or refused with
// dsmrun's exit code for a wrong command line.
#include <cstdlib>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/log.h"
#include "base/types.h"
#include "cluster/endings.h"
#include "tests/fuzz/input.h"
#include "tools/dsmrun_options.h"

int dsmstat_main(int argc, char** argv);  // main of tools/dsmstat.cpp, by a definition on the command line

namespace {

using namespace dsm;

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> made;
  for (std::string& word : words) made.push_back(word.data());
  made.push_back(nullptr);
  return made;
}

void dsmrun(std::vector<std::string> words) {
  words.insert(words.begin(), "dsmrun");
  auto argv = pointers(words);
  int exit_code = -1;
  const auto request = tools::parse_command_line(static_cast<int>(words.size()), argv.data(), exit_code);
  if (request) {
    if (request->nodes == 0 || request->nodes > kMaxNodes || request->program.empty()) std::abort();
    for (const auto& [variable, value] : request->options) ::setenv(variable.c_str(), value.c_str(), 1);
    // What the command line takes one by one may be wrong together, and nothing else.
    (void)read_config();
    for (const auto& [variable, value] : request->options) ::unsetenv(variable.c_str());
  } else if (exit_code != 0 && exit_code != cluster::kExitUsage) {
    std::abort();
  }
}

void dsmstat(std::vector<std::string> words) {
  words.insert(words.begin(), {"dsmstat", "--once"});
  auto argv = pointers(words);
  (void)dsmstat_main(static_cast<int>(words.size()), argv.data());
}

// The options in turn, each with a value from the input.
void variables(const std::vector<std::string>& values) {
  std::size_t at = 0;
  for (const OptionInfo& option : option_table()) {
    const bool given = at < values.size() && values[at].find('\0') == std::string::npos;
    if (given && !values[at].empty()) ::setenv(option.variable, values[at].c_str(), 1);
    ++at;
  }
  const auto config = read_config();
  if (config && dump(*config).empty()) std::abort();
  for (const OptionInfo& option : option_table()) ::unsetenv(option.variable);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  set_log(static_cast<LogLevel>(-1), -1);
  fuzz::Input input(data, size);
  const auto which = input.number<std::uint8_t>() % 3;
  std::vector<std::string> words;
  while (!input.empty() && words.size() < 40) words.push_back(input.text('\n'));
  if (which == 0) dsmrun(std::move(words));
  if (which == 1) dsmstat(std::move(words));
  if (which == 2) variables(words);
  return 0;
}
