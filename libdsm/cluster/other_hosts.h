// A job's other hosts, as the supervisor of this host's nodes sees them (libdsm/hosts is what carries it). One launcher
// runs on each host; each knows the processes of its own host only and tells the others what they must know.
// Used by the supervising thread; nothing here waits.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cluster/exchange.h"

namespace dsm::cluster {

// Why a job breaks up: in `sentence` for users, in `how` for nodes ("killed by signal 9 (SIGKILL)").
struct Breakage {
  unsigned node;
  int pid;
  int exit_code;
  std::string how;
  std::string sentence;
};

// What the other hosts have to say. Members that are not `kind`'s are empty.
struct HostNews {
  enum class Kind {
    kShares,       // the round of the exchange is over: what all nodes gave
    kAllFinished,  // the nodes of all hosts are through
    kBroken,       // the job breaks up
    kOver,         // no process of the job is left on any host: the job's exit code
  };
  Kind kind;
  Shares shares{};
  Breakage broken{};
  int exit_code = 0;
};

class OtherHosts {
 public:
  virtual ~OtherHosts() = default;

  virtual int fd() const = 0;  // readable when serve() may have something to do
  virtual std::vector<HostNews> serve() = 0;

  // What this host tells, each once (give: once a round). News may follow at once: call serve().
  virtual void give(const NodeShares& shares) = 0;    // of all its nodes
  virtual void finished() = 0;                        // all of its nodes are through
  virtual void broken(const Breakage& breakage) = 0;  // the job breaks up, because of one of its nodes
  virtual void ended(int exit_code) = 0;              // none of its processes is left
};

}  // namespace dsm::cluster
