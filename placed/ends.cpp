// What ends the program because a future or a container has been used wrongly: one line that says what, and where.
#include <dsm/containers.h>

#include <cstdlib>

#include "base/log.h"
#include "runtime/misuse.h"

namespace dsm::detail {

void end_for_index(const char* what, std::size_t index, std::size_t size, call_site site) {
  const auto place = runtime::site_text({site.file, site.line});
  if (size == 0) {
    log(LogLevel::kError, "placed", "{}{}: there are no elements; the program ends", what, place.data());
  } else {
    log(LogLevel::kError, "placed", "{}{}: index {} of {} elements; the program ends", what, place.data(), index, size);
  }
  std::abort();
}

void end_for_no_task(const char* what, call_site site) {
  log(LogLevel::kError, "placed",
      "dsm::future::{}{}: the future is empty: get() has been called already, or it was moved from, or it never had a "
      "function to wait for; the program ends",
      what, runtime::site_text({site.file, site.line}).data());
  std::abort();
}

}  // namespace dsm::detail
