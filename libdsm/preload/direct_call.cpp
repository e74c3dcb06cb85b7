#include "preload/direct_call.h"

#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>

// Makes a system call; the filter knows it by the address behind its syscall instruction. The unwinder finds its way
// from here, so a thread may be cancelled in it (pthread_cancel). A copy of it is the gate.
asm(R"(
    .pushsection .text
    .hidden dsm_direct_call, dsm_direct_call_return
    .globl dsm_direct_call, dsm_direct_call_return
    .type dsm_direct_call, @function
dsm_direct_call:
    .cfi_startproc
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    syscall
dsm_direct_call_return:
    ret
    .cfi_endproc
    .size dsm_direct_call, . - dsm_direct_call
    .popsection
)");
extern "C" long dsm_direct_call(long number, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t,
                                std::uint64_t);
extern "C" const std::byte dsm_direct_call_return[1];

namespace dsm::preload {
namespace {

using DirectCall = decltype(&dsm_direct_call);
constinit DirectCall direct_call = dsm_direct_call;

}  // namespace

long call_directly(long number, const Arguments& with) {
  return direct_call(number, with[0], with[1], with[2], with[3], with[4], with[5]);
}

std::uint64_t direct_call_return() { return reinterpret_cast<std::uint64_t>(dsm_direct_call_return); }

// Whether the filter of a job that started this one, as a program of its own, is here still. It lets only the gate
// pass.
bool has_older_filter(const Geometry& geometry) {
  if (::prctl(PR_GET_SECCOMP) != SECCOMP_MODE_FILTER) return false;
  static constinit std::atomic<bool> trapped{false};
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int /*signal*/) { trapped = true; };
  ::sigaction(SIGSYS, &action, &before);
  sigset_t set{};
  sigset_t mask{};
  sigaddset(&set, SIGSYS);
  ::pthread_sigmask(SIG_UNBLOCK, &set, &mask);
  // A call that comes to nothing before the kernel looks at the memory, which may be such that it would wait for it:
  // filters of containers and the like let it go as far as that.
  constexpr std::uint64_t kNoDescriptor = ~std::uint64_t{0};
  for (std::uint64_t at = 0; at < geometry.memory_bytes() && !trapped; at += std::uint64_t{1} << 32) {
    call_directly(SYS_read, {kNoDescriptor, geometry.base + at});
  }
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  ::sigaction(SIGSYS, &before, nullptr);
  return trapped;
}

Result<void> call_from_gate() {
  void* const gate = ::mmap(reinterpret_cast<void*>(kGate), kPageBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (gate != reinterpret_cast<void*>(kGate)) return fail(Errc::kSystem, "the page at 0x1ffe00000000 is in use", errno);
  const auto* const code = reinterpret_cast<const std::byte*>(&dsm_direct_call);
  std::memcpy(gate, code, static_cast<std::size_t>(dsm_direct_call_return + 1 - code));
  if (::mprotect(gate, kPageBytes, PROT_READ | PROT_EXEC) != 0) {
    return fail(Errc::kSystem, "cannot make a page of code (mprotect)", errno);
  }
  direct_call = reinterpret_cast<DirectCall>(kGate);
  return {};
}

}  // namespace dsm::preload
