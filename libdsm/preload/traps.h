// System calls that are handed memory of the global range, with an engine whose pages the kernel does not wait for. A
// seccomp filter has the kernel send SIGSYS for every call that names such memory in an argument, whoever makes it: the
// program, libc's inner functions, inline assembly. The handler touches the pages, as the program would, makes the
// call, and does both again if a page was taken away in between (EFAULT). What calls write that wait, or that take what
// they hand over, comes into private memory first (stand_in.h, receive.h), but for those that lose nothing by EFAULT
// (epoll_wait, io_getevents).
//
// 1. Calls that are made by the library's own instruction pass, and those from the gate, one page of code at the same
//    address in every process.
// 2. Threads that the runtime had before have no filter but an older one, and hand the kernel no memory of the range.
//    A filter cannot be taken back: it stays in children, after execve too, where nothing lies at these addresses
//    unless they are jobs themselves, which then make their calls from the gate.
// 3. A process without the right to make filters gives up gaining rights by execve (no_new_privs), as the kernel
//    demands.
// 4. The call is made with the signal mask that the program has, so signals interrupt it as ever.
#pragma once

#include <csignal>
#include <cstddef>

#include "base/result.h"
#include "base/types.h"
#include "preload/direct_call.h"

namespace dsm::runtime {
struct Node;
}

namespace dsm::preload {

// Once, on the program's first thread: if the engine needs it, or a job that started this one has left its filter here.
// An error says why the kernel does not allow it.
Result<void> trap_system_calls(const runtime::Node& node);
// SIGSYS is ours: as mem::stands_before_program and mem::set_program_action for that signal.
bool traps_stand_before(int signal);
// A signal of a fault or a trap that was blocked by whoever started the program would end it (signals.cpp).
void unblock_our_signals();
void set_trapped_action(const struct sigaction* action, struct sigaction* before);

// What of a buffer, or of a vector's, is made accessible for one call: all of it might not fit the local memory. The
// kernel ends the call short where it comes to the rest.
inline constexpr std::size_t kMostAcquired = std::size_t{1} << 20;
// How often a call is made that meets a missing page each time: others fight over the page, and get on.
inline constexpr int kMostTries = 1000;
// The kernel's answer to a call, with the pages that it names touched before, and again if one was taken away.
long call_with_pages(long number, const Arguments& with);
// A file that gives all it has, while it has some: only from such may one go on reading and never wait, and what it has
// given it can give again.
bool is_file(int descriptor);
// Whether the page may be missing here; a private chunk's cannot, as long as no other node asks for it.
bool is_shared(std::uintptr_t address);
// Makes the pages of what the kernel is to read (kRead) or write (kWrite) accessible. False if none is shared.
bool acquire(const void* data, std::size_t bytes, Access access);

}  // namespace dsm::preload
