// Log lines by subsystem and level, written whole to stderr: "dsm[2] mem: engine uffd-inline". Whoever detects a
// failure logs it, once. Not for the fault path (see trace.h). Safe in signal context: no allocation, one write(2).
#pragma once

#include <fmt/core.h>

#include <string_view>

namespace dsm {

enum class LogLevel : int { kError = 0, kWarn = 1, kInfo = 2, kDebug = 3 };

void set_log(LogLevel level, int node);  // node < 0: none known yet
bool log_enabled(LogLevel level);
void log_line(LogLevel level, std::string_view subsystem, std::string_view text);

template <typename... Args>
void log(LogLevel level, std::string_view subsystem, fmt::format_string<Args...> format, Args&&... args) {
  if (!log_enabled(level)) return;
  char text[512];
  auto end = fmt::format_to_n(text, sizeof text, format, std::forward<Args>(args)...);
  log_line(level, subsystem, {text, static_cast<std::size_t>(end.out - text)});
}

}  // namespace dsm
