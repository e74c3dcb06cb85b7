// What the classes of <dsm/sync.h> share: finding the object behind a handle, and telling a wrong program so.
#pragma once

#include <dsm/sync.h>

#include <cstdint>

#include "base/types.h"
#include "runtime/calls.h"

namespace dsm::sync {

// Ends the program: "dsm::mutex at 0x...: <what>; the program ends".
[[noreturn]] void misuse(const char* kind, const void* object, const char* what);

// The handle's page; ends the program if it is no live object's.
PageId page_of(const detail::slot& slot, const char* kind);

// Marks a once_flag as run, in global memory, so that other nodes need not ask its home.
void set_done(detail::slot& slot);
bool is_done(const detail::slot& slot, const char* kind);

// Ends the program if the answer is a complaint.
std::uint64_t checked(std::uint64_t answer, const detail::slot& slot, const char* kind);

// Asks the object's home and waits for the answer.
std::uint64_t ask(const detail::slot& slot, const char* kind, runtime::Operation operation, std::uint64_t what = 0,
                  std::uint64_t count = 0);
// As ask(), for a handle that has been checked already.
std::uint64_t ask_checked(const detail::slot& slot, const char* kind, runtime::Operation operation, std::uint64_t what,
                          std::uint64_t count);

}  // namespace dsm::sync
