// Failures of the runtime as std::error_code, always of the generic category: C callers get its value as an errno.
#pragma once

#include <system_error>

#include "base/result.h"

namespace dsm::api {

std::error_code to_error_code(const Error& error);

}  // namespace dsm::api
