#include "mem/give_up.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/log.h"

namespace dsm::mem {

void give_up_sig(const char* what, std::uintptr_t address, int error) {
  const char* words = strerrordesc_np(error);
  const char* advice = error == ENOMEM ? "; memory is used up, or this process has as many memory areas as "
                                         "vm.max_map_count allows (sysctl -w vm.max_map_count=1048576 raises it)"
                                       : "";
  log(LogLevel::kError, "mem", "cannot {} at {:#x}: {}{}", what, address, words != nullptr ? words : "unknown error",
      advice);
  std::abort();
}

}  // namespace dsm::mem
