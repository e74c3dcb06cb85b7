#include "base/result.h"

#include <fmt/core.h>

#include <cstring>

namespace dsm {
namespace {

const char* in_words(Errc code) {
  switch (code) {
    case Errc::kBadOption:
      return "bad option";
    case Errc::kNoSupport:
      return "not supported here";
    case Errc::kNoMemory:
      return "memory is used up";
    case Errc::kSystem:
      return "a system call failed";
    case Errc::kProtocol:
      return "a peer sent something that cannot be right";
    case Errc::kPeerDown:
      return "a node of the job died";
    case Errc::kNotFound:
      return "not found";
    case Errc::kTimeout:
      return "timed out";
    case Errc::kNotStarted:
      return "libdsm is not started";
  }
  return "unknown error";
}

}  // namespace

std::string describe(const Error& error) {
  const char* what = *error.context != '\0' ? error.context : in_words(error.code);
  if (error.sys_errno == 0) return what;
  const char* words = strerrordesc_np(error.sys_errno);
  const char* name = strerrorname_np(error.sys_errno);
  if (words == nullptr || name == nullptr) return fmt::format("{}: error {}", what, error.sys_errno);
  return fmt::format("{}: {} ({})", what, words, name);
}

}  // namespace dsm
