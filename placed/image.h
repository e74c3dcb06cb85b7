// Functions by their place in the program's own image, so that a node can name one to another although each has its
// image elsewhere (ASLR). Nodes must run the same program: its build id, or its text if it has none, is compared once
// with each node that work is sent to.
#pragma once

#include <cstdint>

#include "base/types.h"

namespace dsm::runtime {
struct Node;
}

namespace dsm::placed {

// Ends the program with a clear line if the function is not the program's own.
std::uint64_t offset_of(const void* function);
// Ends the program if the offset is not in the program's code.
const void* function_at(std::uint64_t offset);

// Ends the program with a clear line if `to` runs another one. Asks once.
void check_same_program(runtime::Node& node, NodeId to);

}  // namespace dsm::placed
