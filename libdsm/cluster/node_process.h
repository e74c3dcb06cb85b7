// What dsmrun knows about one node.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "cluster/endings.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

//   started -> joined -> finished        any of them -> ended
struct NodeProcess {
  unsigned node = 0;
  bool lends = false;    // a memory node
  pid_t pid = 0;         // our child, and its process group
  pid_t joined_pid = 0;  // the process that joined: our child or one that it started; 0: none has
  UniqueFd rendezvous;   // where a Hello may come from; closed when nobody holds the other end any more
  UniqueFd control;      // to the process that joined
  bool finished = false;
  bool told_all_finished = false;
  bool welcome_due = false;  // its descriptors could not be sent yet: too many are in flight
  bool shares_due = false;   // the same of an exchange's answer
  std::int64_t lost_ns = 0;  // when it closed its control socket; 0: it has not
  std::optional<NodeEnd> end;
  bool group_gone = false;  // no process of its group is left
  bool terminated = false;  // dsmrun sent it SIGTERM of its own accord
  bool killed = false;      // SIGKILL

  bool joined() const { return joined_pid != 0; }
  bool alive() const { return !end.has_value(); }
  // Nothing more is to be waited for from this node in finish().
  bool through() const { return finished || (end.has_value() && end->good()); }
  // The node's program, which a script may have started.
  pid_t program() const { return control ? joined_pid : pid; }
  int shown_pid() const { return joined() ? joined_pid : pid; }
};

}  // namespace dsm::cluster
