#include "base/no_memory.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/line.h"

namespace dsm {

void end_without_memory(const char* what) {
  const char* const why = strerrordesc_np(errno);
  Line line;
  line.add("memory: none for {}: {}; the program ends: free memory or raise this container's limits", what,
           why != nullptr ? why : "unknown error");
  line.write_to(STDERR_FILENO);
  ::_exit(kExitNoMemory);
}

}  // namespace dsm
