// What a litmus test may end with, found by trying every order on an abstract machine.
//
// A raw thread is a processor of x86-TSO (Sewell and others, CACM 2010): its stores go through a buffer, first in first
// out; it reads its own buffer first; a fence, an exchange or an addition waits until the buffer is empty. A hinted
// thread has no buffer: each of its scopes happens whole, at one moment (the promise of L1: a mutable borrow excludes
// others and raw access until it ends, a shared one sees the object as it was before or after any mutable one). So raw
// threads alone are TSO, hinted ones alone are sequentially consistent.
#pragma once

#include <bitset>

#include "tests/litmus/program.h"

namespace litmus {

using Outcomes = std::bitset<std::size_t{1} << kOutcomeBits>;

// `hinted`: one bit a role.
Outcomes allowed(const Program& program, unsigned hinted);

}  // namespace litmus
