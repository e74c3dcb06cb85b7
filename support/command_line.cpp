#include "support/command_line.h"

#include <CLI/CLI.hpp>
#include <bit>
#include <cstdlib>

namespace dsm::support {

Option& Option::range_of_integers(std::int64_t low, std::int64_t high) {
  option_->check(CLI::Range(low, high));
  return *this;
}

Option& Option::range(double low, double high) {
  option_->check(CLI::Range(low, high));
  return *this;
}

Option& Option::positive() {
  option_->check(CLI::PositiveNumber);
  return *this;
}

Option& Option::not_negative() {
  option_->check(CLI::NonNegativeNumber);
  return *this;
}

Option& Option::power_of_two() {
  option_->check([](const std::string& text) {
    return std::has_single_bit(std::strtoull(text.c_str(), nullptr, 10)) ? "" : text + " is no power of two";
  });
  return *this;
}

Option& Option::one_of(const std::vector<std::string>& allowed) {
  option_->check(CLI::IsMember(allowed));
  return *this;
}

Option& Option::list() {
  option_->delimiter(',');
  return *this;
}

Option& Option::show_default() {
  option_->capture_default_str();
  return *this;
}

Option& Option::hidden() {
  option_->group("");
  return *this;
}

Option& Option::or_environment(const std::string& variable) {
  option_->envname(variable);
  return *this;
}

CommandLine::CommandLine(const std::string& about, const std::string& program)
    : app_(std::make_unique<CLI::App>(about, program)) {}

CommandLine::~CommandLine() = default;

Option CommandLine::add(const std::string& names, Target target, const std::string& help) {
  const auto declare = [&](auto& to) {
    if constexpr (std::is_pointer_v<std::remove_reference_t<decltype(to)>>) {
      return app_->add_option(names, *to, help);
    } else {
      return app_->add_option_function<std::string>(names, std::move(to), help);
    }
  };
  return Option(std::visit(declare, target));
}

void CommandLine::flag(const std::string& names, bool& value, const std::string& help) {
  app_->add_flag(names, value, help);
}

void CommandLine::describe(const std::string& name, const std::string& help) {
  app_->get_option(name)->description(help);
}

std::optional<int> CommandLine::parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    return app_->exit(error) == 0 ? 0 : 2;  // CLI11 has a number from 100 on for each kind
  }
}

}  // namespace dsm::support
