#include "api/errors.h"

#include <cerrno>

namespace dsm::api {
namespace {

int errno_of(Errc code) {
  switch (code) {
    case Errc::kBadOption:
      return EINVAL;
    case Errc::kNoSupport:
      return EOPNOTSUPP;
    case Errc::kNoMemory:
      return ENOMEM;
    case Errc::kSystem:
      return EIO;
    case Errc::kProtocol:
      return EPROTO;
    case Errc::kPeerDown:
      return EHOSTDOWN;
    case Errc::kNotFound:
      return ENOENT;
    case Errc::kTimeout:
      return ETIMEDOUT;
    case Errc::kNotStarted:
      return ENOTCONN;
  }
  return EIO;
}

}  // namespace

std::error_code to_error_code(const Error& error) {
  return {error.sys_errno != 0 ? error.sys_errno : errno_of(error.code), std::generic_category()};
}

}  // namespace dsm::api
