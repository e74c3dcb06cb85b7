// Which planted bug is awake: the variable DSM_MUTANT names it. Only in test builds (tests/mutants).
#pragma once

#include <cstdlib>
#include <cstring>

namespace dsm::mutants {

inline bool chosen(const char* name) {
  static const char* const wanted = std::getenv("DSM_MUTANT");
  return wanted != nullptr && std::strcmp(wanted, name) == 0;
}

}  // namespace dsm::mutants
