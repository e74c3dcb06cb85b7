// The return addresses of this thread, innermost first. Safe in signal context (recorder.h says on which conditions).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace dsm::insight {

enum class From : std::uint8_t {
  kCaller,       // the caller of the function that asks
  kInterrupted,  // what the signal has interrupted whose handler runs here: its own address comes first
};

// How many addresses there were, at the most `most`; 0 also if there is no interrupted function on the stack.
std::size_t walk_stack(From from, std::uint64_t* addresses, std::size_t most);

// Where a thread of this process is that the kernel has suspended in a page fault; 0 if it cannot be told.
std::uint64_t suspended_at(pid_t tid);

}  // namespace dsm::insight
