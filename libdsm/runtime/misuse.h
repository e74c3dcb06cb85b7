// What ends the program because it has borrowed wrongly: one line that names what, and where in the program, and with
// DSM_CHECK=1 who called there, and who called where the earlier borrow began. Each goes to stderr before abort(). Safe
// in signal context as far as the walk up the stack is.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/pins.h"

namespace dsm::runtime {

struct Node;

// "raw access to 0x... inside its own mutable borrow (begun at f.cpp:12): accessed at main+0x1f"
[[noreturn]] void end_for_raw_access(const Node& node, const Pin& pin, std::uint64_t address);

// "{what} of the object 0x... at file:line; {earlier} at file:line". A site without a file is left out.
[[noreturn]] void end_for_misuse(std::string_view what, std::uint64_t address, CallSite now, std::string_view earlier,
                                 CallSite then);

// " at file:line"; "" for a site without a file.
std::array<char, 160> site_text(CallSite site);

// "function+0x12", or "file+0x1234" for addr2line where no symbol is known.
using PlaceText = std::array<char, 128>;
enum class At : std::uint8_t { kCall, kAccess };  // a return address; the instruction itself
PlaceText place_text(std::uint64_t at, At kind);
// A line that says what, and one for each of the addresses up to the first that is 0, of which `first` is the first.
void say_callers(const char* what, std::span<const std::uint64_t> frames, At first = At::kCall,
                 const char* subsystem = "borrow");

// Who called there; empty if that was not noted.
std::span<const std::uint64_t> callers_of(const CallSite& site);
// DSM_CHECK=1: notes who called the borrow that has just begun. The last thousands of notes are kept.
void note_callers(Pin& pin);

}  // namespace dsm::runtime
