// Starts one node's process: its own process group, its end of the rendezvous, its standard streams, nothing else of
// ours. A failed exec is reported to the caller, not by a strange exit status.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/signal_desk.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

struct Program {
  std::string path;                        // of the file to execute
  std::vector<std::string> args;           // args[0] as the user wrote it
  std::vector<std::string> environment{};  // "NAME=value", instead of what this process has under these names
};

struct Streams {  // descriptors of this process that become 0, 1, 2 of the child
  int in;
  int out;
  int err;
};

struct Spawned {
  pid_t pid;  // and its process group
  UniqueFd rendezvous;
};

// Errc::kNotFound with errno: the exec failed. The environment is this process's own, plus DSM_CONTROL_FD.
Result<Spawned> spawn(const Program& program, const Streams& streams, const SignalDesk& signals);

}  // namespace dsm::cluster
