// The library's constructor: starts this process's node, then opens the front. It runs on the program's first thread,
// after the constructors of libc and libstdc++ and before main; what was allocated earlier came from libc and is freed
// there. A node that cannot start ends the program with the reason: there is no silent way around the global heap.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/allocation_gate.h"
#include "base/log.h"
#include "cluster/endings.h"
#include "preload/descriptors.h"
#include "preload/front.h"
#include "preload/traps.h"
#include "runtime/node.h"

namespace dsm::preload {
namespace {

constexpr std::string_view kLibrary = "libdsm_preload.so";
constexpr std::string_view kSeparators = ": ";  // of LD_PRELOAD

// Takes this library out of a list of LD_PRELOAD, in place. False: it was alone there.
bool take_us_out(char* list) {
  char* end = list;
  for (std::string_view left = list; !left.empty();) {
    const std::string_view entry = left.substr(0, left.find_first_of(kSeparators));
    left.remove_prefix(std::min(entry.size() + 1, left.size()));
    if (entry.empty() || entry.substr(entry.rfind('/') + 1) == kLibrary) continue;
    if (end != list) *end++ = ':';
    end = std::copy(entry.begin(), entry.end(), end);
  }
  *end = '\0';
  return end != list;
}

// Keeps the variables for which keep(name, value) says so. By hand: a program may have functions of its own called
// getenv and unsetenv (bash does), which would be called instead of libc's.
template <typename Keep>
void filter_environment(Keep keep) {
  char** to = environ;
  for (char** from = environ; from != nullptr && *from != nullptr; ++from) {
    const std::string_view name(*from, std::strcspn(*from, "="));
    char* const value = *from + name.size() + ((*from)[name.size()] == '=' ? 1 : 0);
    if (keep(name, value)) *to++ = *from;
  }
  if (to != nullptr) *to = nullptr;
}

// A node is one process: what the program starts finds no job to join. With DSM_CHILDREN=1 it finds this library still,
// and is a job of its own.
void prepare_environment(const Config& config) {
  filter_environment([&](std::string_view name, char* value) {
    if (name == "LD_PRELOAD") return config.children != 0 || take_us_out(value);
    return name != "DSM_CONTROL_FD" && name != "DSM_PROFILE" && name != "DSM_SITES";  // of one program, of one job
  });
}

// What a child would need to be a job of its own it cannot have: memory nodes, or a process without the filter of
// traps.h.
const char* obstacle_for_children(const runtime::Node& node) {
  if (node.config.children == 0) return nullptr;
  if (node.geometry.memory_nodes != 0) return "what it starts would have no memory nodes";
  return system_calls_need_care ? "what it starts would have this engine's filter of system calls; choose uffd-thread"
                                : nullptr;
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
  if (const char* const why = obstacle_for_children(**node)) {
    log(LogLevel::kError, "preload", "the program is not started: DSM_CHILDREN=1 cannot be had here, since {}", why);
    ::_exit(cluster::kExitUsage);
  }
  if (const auto trapped = trap_system_calls(**node); !trapped) {
    log(LogLevel::kError, "preload",
        "the program is not started, since its system calls on global memory cannot be looked after: {}",
        describe(trapped.error()));
    ::_exit(cluster::kExitUnavailable);
  }
}

}  // namespace
}  // namespace dsm::preload
