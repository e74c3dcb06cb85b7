// A call's function, while it runs on this thread, and what it must not do then.
#pragma once

#include <dsm/delegate.h>

#include <cstddef>
#include <string>

#include "runtime/pins.h"

namespace dsm::placed {

// Who in the program has asked for something: by its line if the function that it called takes one, else by `from`, the
// address that the function returns to.
struct Asker {
  const char* what = "";
  runtime::CallSite site{};
  const void* from = nullptr;
  std::string text() const;  // "call_at (called by main+0x12)"
};

// A call's function runs on this thread.
bool in_call();
// Ends the program with a clear line if so.
void check_no_call(const Asker& asker);

// Runs a call's function on objects that this thread has. A borrow in it, also one that would not have to wait, ends
// the program with a clear line.
void run_call(detail::run_records function, void* const* objects, std::byte* records, std::size_t stride,
              std::size_t count, void* result);

}  // namespace dsm::placed
