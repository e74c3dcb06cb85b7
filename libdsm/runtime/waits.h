// What threads that have borrowed something wait for, and where in the program, for who looks for circles of them
// (deadlock.h). A thread that has borrowed nothing holds nobody up, so its waits for pages are not noted; those for
// objects are.
//
// 1. A wait that is noted is over at the latest when what was waited for can be used.
// 2. All of it is safe in signal context, and costs next to nothing beside a wait.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "base/types.h"
#include "runtime/pins.h"

namespace dsm::runtime {

struct Node;

// The calling thread waits while this lives.
class Waiting {
 public:
  Waiting(ThreadPins& thread, WaitKind kind, std::uint64_t address, CallSite site);
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  ThreadPins& thread_;
};

// Addresses in a thread's stack, innermost first; the rest 0.
using Frames = std::array<std::uint64_t, ThreadWait::kFrames>;
// Who called the function that asks. Not in signal context.
Frames callers_now();

// Notes where in the program the calling thread waits: in signal context, what the signal has interrupted ...
void trace_interrupted(ThreadPins& me);
// ... or in a call of the library (not in signal context, and fast).
void trace_callers(ThreadPins& me);

// Plain access. The calling thread's record if it has borrowed something that holds pages, else nullptr ...
ThreadPins* borrower();
// ... and a thread's that the kernel has suspended in its access, until end_plain_waits().
void begin_plain_wait(pid_t tid, std::uint64_t address);
// Suspended threads that wait for plain access to a page go on; or one of them, whatever it waits for.
void end_plain_waits(const Node& node, PageRange pages);
void end_plain_wait(pid_t tid);

// How threads that wait are watched for (deadlock.h): its thread sleeps while the word is 0.
extern std::atomic<std::uint32_t> waits_begun;
// Something waits for the end of a borrow from now on.
void note_wait_begun();

}  // namespace dsm::runtime
