// A load or store that the program is about to make, made in its stead: through the service view, while the program
// itself may not touch the page. So it is known when the access has run, and nobody has to be woken to find that out.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>

#include "base/types.h"

namespace dsm::mem {

// Runs the instruction at which a thread of this process has faulted. `address` is where it faulted, `where` the same
// byte in the service view. True: memory, registers and flags are what the instruction leaves, and the thread will go
// on behind it. False: nothing has happened, since it is none of these, to or from an aligned word of 1, 2, 4 or 8
// bytes: mov, movzx, movsx, movsxd, cmp, test; xchg, xadd, cmpxchg, inc, dec, not, add, sub, and, or, xor into memory,
// with or without lock, but done as if with it. Only general registers. In signal context, for any thread; whoever
// calls sees to it that the page stays here meanwhile; `granted`: what this node may do with it.
// The instruction is read where it stands: code that may be run but not read (protection keys) ends the program.
bool emulate_access(ucontext_t& thread, std::uintptr_t address, std::byte* where, Access granted);

// Before the first: the dynamic linker looks nothing up in a signal then.
void prepare_emulation();

}  // namespace dsm::mem
