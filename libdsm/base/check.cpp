#include "base/check.h"

#include <unistd.h>

#include <cstdlib>

#include "base/line.h"
#include "base/trace.h"

namespace dsm {

void check_failed(const char* file, int line, const char* condition, std::string_view detail) {
  Line text;
  text.text("CHECK failed ").text(file).add(":{}: ", line).text(condition);
  if (!detail.empty()) text.text(": ").text(detail);
  text.write_to(STDERR_FILENO);
  dump_trace(STDERR_FILENO);
  std::abort();
}

}  // namespace dsm
