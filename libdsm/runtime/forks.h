// fork() in a node's process: the runtime is still while the kernel copies it, and the child's copy is its own.
//
// 1. The child has a private, consistent copy of every private chunk (the kernel copies on write) and goes on
//    allocating from its copy of the slice, which nobody else sees.
// 2. The child is no node: it says nothing to the job, and leaving it leaves the parent's place alone (finish_node).
//    The runtime's threads do not exist there.
// 3. Chunks that other nodes have seen, and other nodes' memory, are not there: the child ends with a clear line if it
//    touches them. What it frees of them is forgotten. With memory nodes, where that is the whole heap, the child gets
//    a copy (snapshot.h).
//
// Lock order: jemalloc calls the chunk source under its own locks, so prepare comes after jemalloc's own handler and
// the others before it: register these handlers before jemalloc's constructor runs.
#pragma once

namespace dsm::runtime {

struct Node;

void prepare_fork(Node& node);
void fork_done_in_parent(Node& node);
void fork_done_in_child(Node& node);

// A forked child has the heap, and goes on with it.
bool heap_inherited();
// This process is a forked child of the node's.
bool in_forked_child();

}  // namespace dsm::runtime
