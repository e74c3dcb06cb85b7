// What ends a node that gets no memory for tables of the runtime's own in a call that has no way to fail: the
// environment's failure and not a bug, so one line and an exit status, no trace. Safe in signal context.
#pragma once

namespace dsm {

inline constexpr int kExitNoMemory = 69;  // as dsmrun's: this machine lacks something

// errno says why; `what` names the tables: "a thread's pins".
[[noreturn]] void end_without_memory(const char* what);

}  // namespace dsm
