// The library's constructor: starts this process's node, then opens the front. It runs on the program's first thread,
// after the constructors of libc and libstdc++ and before main; what was allocated earlier came from libc and is freed
// there. A node that cannot start ends the program with the reason: there is no silent way around the global heap.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/allocation_gate.h"
#include "base/log.h"
#include "cluster/endings.h"
#include "preload/descriptors.h"
#include "preload/front.h"
#include "runtime/node.h"

namespace dsm::preload {
namespace {

constexpr std::string_view kLibrary = "libdsm_preload.so";
constexpr std::string_view kSeparators = ": ";  // of LD_PRELOAD

// The value of LD_PRELOAD without this library.
std::string without_us(std::string_view preloaded) {
  std::string others;
  while (!preloaded.empty()) {
    const std::size_t end = std::min(preloaded.find_first_of(kSeparators), preloaded.size());
    const std::string_view entry = preloaded.substr(0, end);
    preloaded.remove_prefix(std::min(end + 1, preloaded.size()));
    if (entry.empty() || entry.substr(entry.rfind('/') + 1) == kLibrary) continue;
    if (!others.empty()) others += ':';
    others += entry;
  }
  return others;
}

// A node is one process: what the program starts finds no job to join. With DSM_CHILDREN=1 it finds this library still,
// and is a job of its own.
void prepare_environment(const Config& config) {
  ::unsetenv("DSM_CONTROL_FD");
  ::unsetenv("DSM_PROFILE");  // one job, one profile
  ::unsetenv("DSM_SITES");    // of one program
  const char* const preloaded = std::getenv("LD_PRELOAD");
  if (config.children != 0 || preloaded == nullptr) return;
  const std::string others = without_us(preloaded);
  if (others.empty()) {
    ::unsetenv("LD_PRELOAD");
  } else {
    ::setenv("LD_PRELOAD", others.c_str(), 1);
  }
}

[[gnu::constructor]] void start() {
  const OwnAllocations own;
  const auto node = [] {
    const OwnDescriptors descriptors;
    return runtime::start_node(runtime::Program::kUnmodified);
  }();
  if (!node) {
    log(LogLevel::kError, "preload", "the program is not started, since its memory would not be the global heap's");
    ::_exit(node.error().code == Errc::kBadOption ? cluster::kExitUsage : cluster::kExitUnavailable);
  }
  prepare_environment((*node)->config);
  open_front(**node);
}

}  // namespace
}  // namespace dsm::preload
