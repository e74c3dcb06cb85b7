// The command lines of the test and benchmark programs: CLI11 behind a header that compiles at once, where its own
// takes some five seconds a source.
//
//   CommandLine cli("Sorts random keys.");
//   cli.option("-n,--keys", settings.keys, "keys to sort").range(1, 1 << 20).show_default();
//   if (const auto status = cli.parse(argc, argv)) return *status;
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace dsm::support {

// Where an option's value goes; left as it is if the option is not given.
using Target =
    std::variant<int*, unsigned*, std::uint64_t*, double*, std::string*, std::vector<std::string>*,
                 std::optional<unsigned>*, std::optional<std::uint64_t>*, std::function<void(const std::string&)>>;

// One option while it is declared. All of it returns the option again.
class Option {
 public:
  template <std::integral Low, std::integral High>
  Option& range(Low low, High high) {
    return range_of_integers(static_cast<std::int64_t>(low), static_cast<std::int64_t>(high));
  }
  Option& range(double low, double high);
  Option& positive();
  Option& not_negative();
  Option& power_of_two();
  Option& one_of(const std::vector<std::string>& allowed);
  Option& list();          // of values with commas between
  Option& show_default();  // --help names the value it has now
  Option& hidden();        // not in --help
  Option& or_environment(const std::string& variable);

 private:
  friend class CommandLine;
  explicit Option(CLI::Option* option) : option_(option) {}
  Option& range_of_integers(std::int64_t low, std::int64_t high);

  CLI::Option* option_;  // the command line's
};

class CommandLine {
 public:
  explicit CommandLine(const std::string& about, const std::string& program = "");
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // names: "-n,--keys"; without dashes an argument that has its place.
  template <typename Value>
  Option option(const std::string& names, Value& value, const std::string& help = "") {
    return add(names, Target{&value}, help);
  }
  Option call(const std::string& names, std::function<void(const std::string&)> use, const std::string& help = "") {
    return add(names, Target{std::move(use)}, help);
  }
  // names: "--hints,!--no-hints"
  void flag(const std::string& names, bool& value, const std::string& help);
  // What --help says of an option that has been declared.
  void describe(const std::string& name, const std::string& help);

  // Nothing if the program is to go on. Otherwise --help or what is wrong has been printed, and the program is to end
  // with that status: 0, or 2 for whatever is wrong, as the scripts do.
  [[nodiscard]] std::optional<int> parse(int argc, char** argv);

 private:
  Option add(const std::string& names, Target target, const std::string& help);

  std::unique_ptr<CLI::App> app_;
};

}  // namespace dsm::support
