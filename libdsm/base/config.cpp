#include "base/config.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "base/option_text.h"

namespace dsm {
namespace {

constexpr std::string_view kPrefix = "DSM_";

// DSM_* variables that carry something else than an option.
constexpr std::string_view kNoOptions[] = {
    "DSM_CONTROL_FD",    // dsmrun to node: the node's end of the control socket
    "DSM_HOST_ADDRESS",  // dsmrun to node: this host's address on the way to the job's other hosts
    "DSM_THREADS",       // dsmrun -t to the program: how many threads it is to use
};

enum Type { text, number, bytes };  // the words of DSM_OPTIONS

constexpr OptionType option_type(Type type) {
  switch (type) {
    case text:
      return OptionType::kText;
    case number:
      return OptionType::kNumber;
    default:
      return OptionType::kBytes;
  }
}

constexpr OptionRule kRules[] = {
#define DSM_RULE(type, field, def, minimum, maximum, same, help) {#field, option_type(type), minimum, maximum},
    DSM_OPTIONS(DSM_RULE)
#undef DSM_RULE
};

char upper(char letter) { return static_cast<char>(std::toupper(static_cast<unsigned char>(letter))); }

// "engine" -> "DSM_ENGINE", held for the program's life because OptionInfo points into it.
const std::vector<std::string>& variables() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> made;
    for (const OptionRule& rule : kRules) {
      std::string name{kPrefix};
      for (const char letter : std::string_view{rule.name}) name += upper(letter);
      made.push_back(std::move(name));
    }
    return made;
  }();
  return names;
}

void assign(std::string& field, Type, const std::string& value) { field = value; }
void assign(std::int64_t& field, Type type, const std::string& value) {
  field = *(type == bytes ? parse_bytes(value) : parse_number(value));
}

std::string as_text(const std::string& field, Type) { return field; }
std::string as_text(std::int64_t field, Type type) {
  return type == bytes ? bytes_text(field) : fmt::format("{}", field);
}

// The environment's value, else the default.
std::string value_of(const char* variable, const char* default_text) {
  const char* set = std::getenv(variable);
  return set != nullptr ? set : default_text;
}

const OptionInfo& nearest_option(std::string_view variable) {
  const auto& table = option_table();
  return *std::min_element(table.begin(), table.end(), [&](const OptionInfo& a, const OptionInfo& b) {
    return edit_distance(a.variable, variable) < edit_distance(b.variable, variable);
  });
}

bool is_known(std::string_view variable) {
  return std::find(std::begin(kNoOptions), std::end(kNoOptions), variable) != std::end(kNoOptions) ||
         std::find(variables().begin(), variables().end(), variable) != variables().end();
}

// Complains about DSM_* variables that mean nothing: a misspelt option must not look as if it worked.
bool complain_of_unknown() {
  bool good = true;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view setting = *entry;
    const std::string_view variable = setting.substr(0, setting.find('='));
    if (!variable.starts_with(kPrefix) || is_known(variable)) continue;
    log(LogLevel::kError, "config", "{} is set, but there is no such option; the nearest is {}. Unset or correct it.",
        variable, nearest_option(variable).variable);
    good = false;
  }
  return good;
}

bool complain_of_values() {
  bool good = true;
  for (const OptionInfo& option : option_table()) {
    const std::string value = value_of(option.variable, option.default_text);
    const std::string complaint = complain(option.name, value);
    if (complaint.empty()) continue;
    log(LogLevel::kError, "config", "{}=\"{}\": {}", option.variable, value, complaint);
    good = false;
  }
  return good;
}

// Options that are only right together.
bool complain_of_combination(const Config& config) {
  std::string_view wrong;
  if (config.memory_nodes != 0 && config.local_memory == 0) {
    wrong = "memory nodes need a bound on what a program node keeps: add DSM_LOCAL_MEMORY (--local-memory 256M)";
  } else if (config.memory_nodes == 0 && config.local_memory != 0) {
    wrong = "a bound on local memory needs memory nodes for the rest: add --memory-nodes 1 to dsmrun";
  } else if (config.local_memory != 0 && config.local_memory < kLeastLocalMemory) {
    wrong = "DSM_LOCAL_MEMORY (--local-memory) is too small to run a program in; 4M is the least";
  } else if (config.memory_per_node > config.slice) {
    wrong = "DSM_MEMORY_PER_NODE (--memory-per-node) exceeds DSM_SLICE, a node's address space; make the slice larger";
  } else {
    return true;
  }
  log(LogLevel::kError, "config", "{}", wrong);
  return false;
}

}  // namespace

const std::vector<OptionInfo>& option_table() {
  static const std::vector<OptionInfo> table = [] {
    std::vector<OptionInfo> made;
#define DSM_INFO(type, field, def, minimum, maximum, same, help) \
  made.push_back({#field, variables()[made.size()].c_str(), def, same, help});
    DSM_OPTIONS(DSM_INFO)
#undef DSM_INFO
    return made;
  }();
  return table;
}

std::string complain(const std::string& name, const std::string& value) {
  for (const OptionRule& rule : kRules) {
    if (name != rule.name) continue;
    const std::string allowed = not_allowed(rule, value);
    return allowed.empty() ? "" : fmt::format("{} must be {}", name, allowed);
  }
  std::string variable{kPrefix};
  for (const char letter : name) variable += upper(letter);
  return fmt::format("there is no option {}; the nearest is {}", name, nearest_option(variable).name);
}

Result<Config> read_config() {
  const bool known = complain_of_unknown();
  const bool good = complain_of_values();
  if (!known || !good) return fail(Errc::kBadOption, "a DSM_* variable is not as it must be");
  Config config;
  std::size_t index = 0;
#define DSM_READ(type, field, def, minimum, maximum, same, help) \
  assign(config.field, type, value_of(variables()[index++].c_str(), def));
  DSM_OPTIONS(DSM_READ)
#undef DSM_READ
  if (!complain_of_combination(config)) return fail(Errc::kBadOption, "DSM_* variables do not fit each other");
  return config;
}

std::string dump(const Config& config) {
  std::string text;
#define DSM_DUMP(type, field, def, minimum, maximum, same, help) \
  text += fmt::format("{}={}\n", #field, as_text(config.field, Type::type));
  DSM_OPTIONS(DSM_DUMP)
#undef DSM_DUMP
  return text;
}

}  // namespace dsm
