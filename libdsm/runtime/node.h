// One node of a job: all its parts, wired. Everything above the layers meets here and nowhere else.
//
// Threads: the program's (in API calls and, with inline engines, in the fault path), the service thread (messages,
// requests of other nodes), the holds thread (pages whose use is awaited), the engine's handler thread if it has one,
// the job's watcher; libdsm/README.md lists them all, with those that come with an option or a first use.
#pragma once

#include <memory>

#include "base/config.h"
#include "base/geometry.h"
#include "base/result.h"
#include "base/stats.h"
#include "cluster/job.h"
#include "heap/heap.h"
#include "insight/recorder.h"
#include "mem/address_space.h"
#include "mem/fault_engine.h"
#include "net/transport.h"
#include "runtime/entry.h"

namespace dsm::runtime {

class Pages;        // pages.h: runs the protocol
class Holds;        // holds.h: keeps pages until they have been used
class Service;      // service.h: the message loop
class Calls;        // calls.h: requests to other nodes and their replies
class BlockChecks;  // block_checks.h: the blocks in use, where mistakes are looked for
class Blocks;       // blocks.h: allocation and free of any node's memory
class Objects;      // objects.h: object mode
class Sites;        // sites.h: allocation sites that are served otherwise
class Roots;        // roots.h: named roots and collective allocation
class Leases;       // leases.h: memory of the memory nodes
class LocalMemory;  // local_memory.h: the bound on what this node holds of it

// Who runs in this process. kUnmodified: a program that knows nothing of libdsm (the preload library starts its node).
// System calls on missing pages have to work, so the engine is uffd-thread where that can run, but for nodes with
// memory nodes (engine_name in node.cpp). A node without peers needs no threads and no signal handlers, so it has none.
enum class Program : std::uint8_t { kLinked, kUnmodified };

struct Node {
  Config config;
  Program program = Program::kLinked;
  Geometry geometry;
  NodeId self = 0;
  NodeStats* stats = nullptr;
  std::byte* service_view = nullptr;  // this node's memory, always accessible
  std::byte* meta_view = nullptr;     // its latches and headers

  // An upper layer's, from its start hook: another node has rung. On any thread, in signal context, too.
  void (*on_ring)() = nullptr;

  // In the order of their start; the later stand on the earlier.
  std::unique_ptr<cluster::Job> job;
  std::unique_ptr<insight::Recorder> recorder;  // only if there is a profile to be made
  std::unique_ptr<net::Transport> transport;
  std::unique_ptr<mem::FaultEngine> engine;
  std::unique_ptr<mem::AddressSpace> space;
  std::unique_ptr<Pages> pages;
  std::unique_ptr<LocalMemory> local;  // only if there are memory nodes
  std::unique_ptr<Leases> leases;      // likewise
  std::unique_ptr<Holds> holds;
  std::unique_ptr<Calls> calls;
  std::unique_ptr<Objects> objects;
  std::unique_ptr<heap::ChunkSource> chunks;
  std::unique_ptr<BlockChecks> checks;  // only with DSM_CHECK=1, in a program that is linked with libdsm
  std::unique_ptr<heap::Heap> heap;
  std::unique_ptr<Blocks> blocks;
  std::unique_ptr<Sites> sites;  // only if a profile says so
  std::unique_ptr<Roots> roots;
  std::unique_ptr<Service> service;

  Node();
  ~Node();
};

// Starts this process's node; idempotent. The error has been logged.
Result<Node*> start_node(Program program = Program::kLinked);
// The running node. Ends the program with a clear line if there is none.
Node& node();
// Likewise; nullptr after finish().
Node* node_unless_finished();
bool node_running();
// All nodes have finished, and the others may be gone.
bool node_finished();
// The node is an unmodified program's only one: private memory is all there is.
bool quiet(const Node& node);
// Waits for all nodes and leaves the job. kCalled: the program goes on, and is not to use the node any more; kExit:
// what still runs while the process ends, as static objects' destructors do, may use what is here.
enum class Finish : std::uint8_t { kCalled, kExit };
void finish_node(Finish how);

}  // namespace dsm::runtime
