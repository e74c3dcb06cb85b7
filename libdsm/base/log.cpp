#include "base/log.h"

#include <unistd.h>

#include <atomic>

#include "base/line.h"

namespace dsm {
namespace {

std::atomic<int> highest_level{static_cast<int>(LogLevel::kWarn)};

}  // namespace

void set_log(LogLevel level, int node) {
  highest_level.store(static_cast<int>(level), std::memory_order_relaxed);
  set_line_node(node);
}

bool log_enabled(LogLevel level) { return static_cast<int>(level) <= highest_level.load(std::memory_order_relaxed); }

void log_line(LogLevel level, std::string_view subsystem, std::string_view text) {
  if (!log_enabled(level)) return;
  Line line;
  line.text(subsystem).text(": ").text(text).write_to(STDERR_FILENO);
}

}  // namespace dsm
