// The definition that the program would have reached without this library.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstddef>

namespace dsm::preload {

template <std::size_t kBytes>
struct FunctionName {
  consteval FunctionName(const char (&name)[kBytes]) { std::copy_n(name, kBytes, text); }  // NOLINT: meant to convert
  char text[kBytes];
};

// dlsym may allocate: no allocation function may be reached this way.
template <FunctionName kName, typename Function>
Function* next() {
  static constinit std::atomic<Function*> found{nullptr};
  Function* function = found.load(std::memory_order_relaxed);
  if (function == nullptr) {
    function = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, kName.text));
    found.store(function, std::memory_order_relaxed);
  }
  return function;
}

}  // namespace dsm::preload
