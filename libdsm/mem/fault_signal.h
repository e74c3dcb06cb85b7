// The signals that carry memory faults (SIGSEGV, SIGBUS): our handler in front of the program's own, and the way back
// to it. Everything here runs in the faulting thread, in signal context, with all signals blocked.
//
// 1. A fault that is not ours reaches the program as if we were not there: its handler with the same arguments and the
//    mask it asked for, or the default action with the same signal.
// 2. errno is preserved.
// 3. A forked child has none of our memory: its faults are its own, but for what it adopts (prepare_forked_child).
#pragma once

#include <ucontext.h>

#include <csignal>
#include <cstdint>

#include "base/geometry.h"
#include "base/result.h"
#include "mem/fault_engine.h"

namespace dsm::mem {

class FaultReceiver {
 public:
  virtual ~FaultReceiver() = default;
  // True when dealt with: the access is tried again. False passes the signal on to the program.
  virtual bool on_signal_sig(siginfo_t& info, ucontext_t& context) = 0;
};

// One receiver per signal at a time.
Result<void> take_signal(int signal, FaultReceiver& receiver);
void give_back_signal(int signal);

// Our handler stands in front of the program's for this signal.
bool stands_before_program(int signal);
// sigaction(2) on the program's own action, to which ours hands on what is not ours; either pointer may be null. False,
// and nothing happens, unless ours stands in front of it. Safe in signal context.
bool set_program_action(int signal, const struct sigaction* action, struct sigaction* before);

// Before a fork. In the child, an access to the global range that finds nothing there is tried again if adopt() (called
// in signal context) says that something is there now; else it is named in one line before it ends the process.
void prepare_forked_child(std::uintptr_t base, std::size_t bytes, bool (*adopt)());

// Gives the program a signal for the fault at `address`: SIGSEGV (no such memory) or SIGBUS (memory lost). Returns if
// the program's handler does.
void raise_in_program_sig(int signal, std::uintptr_t address, ucontext_t& context);

// This thread is in our handler, so all its signals are blocked.
bool in_fault_signal();

Access wanted_access(const ucontext_t& context);
bool instruction_fetch(const ucontext_t& context);

// Asks the sink and carries out its verdict, for engines that resolve in the faulting thread.
void answer_fault_sig(FaultSink& sink, const Geometry& geometry, const siginfo_t& info, ucontext_t& context);

// Has a thread of this process that the kernel has suspended in a page fault run `visit` where it is, in signal
// context; then it is suspended again. For engines that hold threads up so (uffd-thread), one thread at a time. False:
// it cannot be asked. The visit may come late, or never if the thread blocks the signal.
bool visit_suspended(pid_t tid, void (*visit)());

// The one line that comes before a SIGBUS of ours.
void report_lost_sig(const Geometry& geometry, std::uintptr_t address);

}  // namespace dsm::mem
