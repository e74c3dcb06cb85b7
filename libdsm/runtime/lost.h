// The end of a node that cannot reach another one any more. Safe in signal context.
#pragma once

#include <span>

#include "net/transport.h"

namespace dsm::runtime {

struct Node;

inline constexpr int kExitPeerDown = 71;  // dsmrun --help lists it

// The transport's log has said why.
[[noreturn]] void end_for_lost(NodeId lost);

// Chains that have to succeed: a failure is the loss of the node, and of memory that is homed there.
void execute_or_end(Node& node, NodeId home, std::span<net::Op> chain);
net::Posted post_or_end(Node& node, NodeId home, std::span<net::Op> chain);
void finish_or_end(Node& node, NodeId home, net::Posted posted);

}  // namespace dsm::runtime
