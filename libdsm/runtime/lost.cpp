#include "runtime/lost.h"

#include <unistd.h>

#include "base/log.h"
#include "runtime/node.h"

namespace dsm::runtime {

// An operation may fail ahead of the news why. Who tells it ends this node, with the cause.
void end_for_lost(NodeId lost) {
  constexpr useconds_t kNewsWithinUs = 500'000;
  ::usleep(kNewsWithinUs);
  log(LogLevel::kError, "job", "node {} is lost to this one, for the reason above; this node ends", lost);
  ::_exit(kExitPeerDown);
}

namespace {

[[noreturn]] void end_for_failed(NodeId home, const Error& error) {
  log(LogLevel::kError, "net", "an operation on node {}'s memory failed: {}", home, error.context);
  end_for_lost(home);
}

}  // namespace

void execute_or_end(Node& node, NodeId home, std::span<net::Op> chain) {
  const auto done = node.transport->execute(home, chain);
  if (!done) end_for_failed(home, done.error());
}

net::Posted post_or_end(Node& node, NodeId home, std::span<net::Op> chain) {
  const auto posted = node.transport->post(home, chain);
  if (!posted) end_for_failed(home, posted.error());
  return *posted;
}

void finish_or_end(Node& node, NodeId home, net::Posted posted) {
  const auto done = node.transport->finish(home, posted);
  if (!done) end_for_failed(home, done.error());
}

}  // namespace dsm::runtime
