// What the tests' own programs do with a command line, as the scripts do.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

namespace dsm::test {

// Parses it. Otherwise --help or what is wrong has been printed, and the program is to end with that status: 2 for
// whatever is wrong, where CLI11 has a number from 100 on for each kind.
inline std::optional<int> parse_or_status(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
}

}  // namespace dsm::test
