// Memory of the heap that is mostly elsewhere: for programs that run with less local memory than they use.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#define REQUIRE(condition)                                                           \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
      std::_Exit(1);                                                                 \
    }                                                                                \
  } while (false)

inline constexpr std::size_t kUsed = 12 << 20, kPage = 4096;
inline volatile char* used = nullptr;

// Touches more than there is room for, so that what was touched before is not here.
inline void push_out() {
  for (std::size_t at = 0; at < kUsed; at += kPage) used[at] = static_cast<char>(at >> 12);
}

inline char pattern(std::size_t i) { return static_cast<char>(i * 31 + (i >> 12)); }

template <typename T>
T* fresh(std::size_t count = 1) {
  auto* const made = static_cast<T*>(std::calloc(count, sizeof(T)));
  REQUIRE(made != nullptr);
  return made;
}

inline char* patterned(std::size_t bytes) {
  auto* const text = fresh<char>(bytes);
  for (std::size_t i = 0; i < bytes; ++i) text[i] = pattern(i);
  return text;
}

inline bool is_pattern(const char* text, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    if (text[i] != pattern(i)) return false;
  }
  return true;
}
