// Which planted bug is awake: the variable PLANTED_BUG names it (libdsm refuses DSM_ names that it does not know). Only
// in test builds (tests/mutants).
#pragma once

#include <cstdlib>
#include <cstring>

namespace dsm::mutants {

inline bool chosen(const char* name) {
  static const char* const wanted = std::getenv("PLANTED_BUG");
  return wanted != nullptr && std::strcmp(wanted, name) == 0;
}

}  // namespace dsm::mutants
