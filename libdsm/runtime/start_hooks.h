// What upper layers start with the node: runtime cannot include them, so they announce themselves before start_node().
#pragma once

namespace dsm::runtime {

struct Node;
using StartHook = void (*)(Node&);

// Before start_node(); a hook that is known already is not added again.
void add_start_hook(StartHook hook);
// By start_node(), when the node's parts stand and no other node's message is handled yet.
void run_start_hooks(Node& node);

}  // namespace dsm::runtime
