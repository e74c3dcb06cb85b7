// One userfaultfd and the few requests we make of it. Addresses and sizes are whole pages; the results are errno
// values, since most of these run in signal context. No state but the descriptor; any thread.
#pragma once

#include <linux/userfaultfd.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "base/types.h"

#ifndef UFFDIO_CONTINUE_MODE_WP  // Linux 6.4; the headers may be older than the kernel
#define UFFDIO_CONTINUE_MODE_WP (static_cast<__u64>(1) << 1)
#endif

namespace dsm::mem {

enum class FaultRoute : std::uint8_t {
  kSignal,    // a fault is a SIGBUS in the faulting thread (EFAULT in a system call)
  kMessages,  // a fault suspends the thread and is read from the descriptor
};

class Userfault {
 public:
  static Result<Userfault> open(FaultRoute route);
  // "" or why this kernel has not got what the engines need.
  static std::string obstacle(FaultRoute route);

  Userfault(Userfault&& other) noexcept;
  Userfault(const Userfault&) = delete;
  Userfault& operator=(Userfault&&) = delete;
  ~Userfault();

  int fd() const { return fd_; }
  bool user_mode_only() const { return user_mode_only_; }  // faults inside system calls are never told: EFAULT

  int register_shared(std::uintptr_t address, std::size_t bytes) const;   // missing, unmapped, write-protected
  int register_private(std::uintptr_t address, std::size_t bytes) const;  // missing
  int unregister(std::uintptr_t address, std::size_t bytes) const;

  struct Progress {
    std::size_t bytes;  // done before the error
    int error;
  };
  // Maps pages that are in the memory file, readable or writable, and wakes who waits for them.
  Progress resume(std::uintptr_t address, std::size_t bytes, Access access) const;
  // Puts bytes into the memory file, where there are none yet, and maps them as resume() does.
  Progress copy(std::uintptr_t address, std::size_t bytes, const std::byte* from, Access access) const;
  // Sets or (waking who waits) clears write protection.
  int write_protect(std::uintptr_t address, std::size_t bytes, bool on) const;
  int wake(std::uintptr_t address, std::size_t bytes) const;

  // Messages that are there now; never waits.
  std::span<uffd_msg> read(std::span<uffd_msg> into) const;

 private:
  Userfault(int fd, bool user_mode_only) : fd_(fd), user_mode_only_(user_mode_only) {}

  int fd_;
  bool user_mode_only_;
};

}  // namespace dsm::mem
