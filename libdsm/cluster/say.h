// What dsmrun has to say to its user: whole lines on stderr, "dsmrun: ...".
#pragma once

#include <fmt/core.h>
#include <unistd.h>

#include <string>

namespace dsm::cluster {

template <typename... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  const std::string line = "dsmrun: " + fmt::format(format, std::forward<Args>(args)...) + "\n";
  static_cast<void>(!::write(STDERR_FILENO, line.data(), line.size()));  // nobody to tell if stderr is gone
}

}  // namespace dsm::cluster
