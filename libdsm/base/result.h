// Result<T>: how the environment's failures travel. A bug is DSM_CHECK's business, not this one's.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace dsm {

enum class Errc {
  kBadOption = 1,  // the user asked for something that does not exist or does not fit
  kNoSupport,      // this kernel or machine lacks something we need
  kNoMemory,       // memory, address space or a memory limit is used up
  kSystem,         // a system call failed; sys_errno says how
  kProtocol,       // a peer sent something that cannot be right
  kPeerDown,       // a node of the job died
  kNotFound,
  kTimeout,
  kNotStarted,  // dsm::start() has not been called, or finish() has
};

// Cheap to make and to copy: no allocation, `context` is a string literal.
struct Error {
  Errc code;
  int sys_errno = 0;
  const char* context = "";
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Errc code, const char* context, int sys_errno = 0) {
  return tl::unexpected<Error>(Error{code, sys_errno, context});
}

// "cannot map the global range: Cannot allocate memory (ENOMEM)"
std::string describe(const Error& error);

}  // namespace dsm
