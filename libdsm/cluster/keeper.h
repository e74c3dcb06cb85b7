// The keeper: a small process that outlives dsmrun by two seconds at the most. When dsmrun dies without ending its job
// (kill -9), nobody else could end nodes that ignore it, or what they have started; the keeper notices the end of its
// pipe, gives the process groups that are left a second, then ends them.
//
// 1. It knows every node's process group, and only groups that dsmrun has not yet seen empty.
// 2. It holds nothing of the job: no memory, no socket, no output.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

inline constexpr int kGraceMs = 1000;     // from being told to SIGTERM
inline constexpr int kTerminateMs = 500;  // from SIGTERM to SIGKILL

class Keeper {
 public:
  // Forks. Before any other descriptor of the job is made and before any thread.
  static Result<Keeper> start();
  Keeper(Keeper&& other) noexcept;
  ~Keeper();  // tells it that the job is over, and waits for its end

  void watch_group(pid_t group);
  void forget_group(pid_t group);

 private:
  Keeper(pid_t pid, UniqueFd pipe) : pid_(pid), pipe_(std::move(pipe)) {}

  pid_t pid_;
  UniqueFd pipe_;
};

}  // namespace dsm::cluster
