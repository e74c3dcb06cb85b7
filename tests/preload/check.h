// For programs that know nothing of libdsm and are run on its preload library by preload_test.cpp.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

// The global range at its default base, as the tests' jobs have it.
inline bool in_global_range(const void* block) {
  const auto address = reinterpret_cast<std::uintptr_t>(block);
  return address >= 0x2000'0000'0000 && address < 0x2800'0000'0000;
}

[[noreturn]] inline void failed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
  std::_Exit(1);
}

#define REQUIRE(condition)                                    \
  do {                                                        \
    if (!(condition)) failed(__FILE__, __LINE__, #condition); \
  } while (false)

// Not by stdio: with some engines its buffer must not be memory that nodes share (docs/system-calls.md).
inline void say_good() { REQUIRE(::write(1, "good\n", 5) == 5); }

struct Case {
  const char* name;
  void (*run)();
};
