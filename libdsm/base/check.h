// DSM_CHECK: an always-on assertion for bugs. Prints one line and the calling thread's trace ring, then aborts.
// Safe in signal context: formats into a stack buffer, writes with write(2), allocates nothing.
#pragma once

#include <fmt/core.h>

#include <string_view>

namespace dsm {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, std::string_view detail);

}  // namespace dsm

// DSM_CHECK(cond) or DSM_CHECK(cond, "page {} is {}", page, state).
#define DSM_CHECK(condition, ...)                                                                          \
  do {                                                                                                     \
    if (!(condition)) [[unlikely]] {                                                                       \
      char dsm_check_text[256];                                                                            \
      auto dsm_check_end = fmt::format_to_n(dsm_check_text, sizeof dsm_check_text, "" __VA_ARGS__);        \
      ::dsm::check_failed(__FILE__, __LINE__, #condition,                                                  \
                          {dsm_check_text, static_cast<std::size_t>(dsm_check_end.out - dsm_check_text)}); \
    }                                                                                                      \
  } while (false)
