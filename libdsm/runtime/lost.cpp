#include "runtime/lost.h"

#include <unistd.h>

#include "base/log.h"
#include "runtime/node.h"

namespace dsm::runtime {

void end_for_lost(NodeId lost) {
  log(LogLevel::kError, "job", "node {} is lost to this one, for the reason above; this node ends", lost);
  ::_exit(kExitPeerDown);
}

void execute_or_end(Node& node, NodeId home, std::span<net::Op> chain) {
  const auto done = node.transport->execute(home, chain);
  if (done) return;
  log(LogLevel::kError, "net", "an operation on node {}'s memory failed: {}", home, done.error().context);
  end_for_lost(home);
}

}  // namespace dsm::runtime
