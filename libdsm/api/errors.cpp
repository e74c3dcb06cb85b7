#include "api/errors.h"

#include <cerrno>

namespace dsm::api {

std::error_code to_error_code(const Error& error) {
  int value = error.sys_errno;
  if (value == 0) {
    switch (error.code) {
      case Errc::kBadOption: value = EINVAL; break;
      case Errc::kNoSupport: value = EOPNOTSUPP; break;
      case Errc::kNoMemory: value = ENOMEM; break;
      case Errc::kSystem: value = EIO; break;
      case Errc::kProtocol: value = EPROTO; break;
      case Errc::kPeerDown: value = EHOSTDOWN; break;
      case Errc::kNotFound: value = ENOENT; break;
      case Errc::kTimeout: value = ETIMEDOUT; break;
      case Errc::kNotStarted: value = ENOTCONN; break;
    }
  }
  return {value, std::generic_category()};
}

}  // namespace dsm::api
