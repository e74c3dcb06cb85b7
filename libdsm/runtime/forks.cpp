#include "runtime/forks.h"

#include <sys/mman.h>

#include <csignal>
#include <utility>

#include "base/no_memory.h"
#include "mem/fault_signal.h"
#include "runtime/chunks.h"
#include "runtime/node.h"
#include "runtime/snapshot.h"

namespace dsm::runtime {
namespace {

bool forked = false;
bool inherited = true;
Node* forking_node = nullptr;  // in whose memory a child looks for its heap, once
sigset_t mask_before;          // of the thread that forks; under the chunks' locks

// None if the heap is memory that memory nodes lend.
SliceChunks* private_chunks(Node& node) {
  return node.geometry.memory_nodes == 0 ? static_cast<SliceChunks*>(node.chunks.get()) : nullptr;
}

// A child that forks again has ordinary memory, which the kernel copies.
bool needs_snapshot(const Node& node) { return node.geometry.memory_nodes != 0 && !forked; }

// Before the handlers, libc itself touches the heap in the child: it resets the locks of streams.
bool adopt_heap() {
  Node* const node = std::exchange(forking_node, nullptr);
  if (node == nullptr || node->geometry.memory_nodes == 0) return false;
  inherited = adopt_snapshot(*node);
  return inherited;
}

void release(Node& node) {
  const sigset_t mask = mask_before;
  if (SliceChunks* const chunks = private_chunks(node); chunks != nullptr) chunks->release_after_fork();
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
}

}  // namespace

void prepare_fork(Node& node) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  sigdelset(&all, SIGSEGV);  // a snapshot reads the heap as the program does
  sigdelset(&all, SIGBUS);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (SliceChunks* const chunks = private_chunks(node); chunks != nullptr) chunks->hold_for_fork();
  mask_before = before;
  if (forked) return;
  forking_node = &node;
  mem::prepare_forked_child(node.geometry.base, node.geometry.memory_bytes(), adopt_heap);
  if (needs_snapshot(node)) take_snapshot(node);
}

void fork_done_in_parent(Node& node) {
  if (needs_snapshot(node)) thaw(node);
  release(node);
}

void fork_done_in_child(Node& node) {
  if (forked) return release(node);
  forked = true;
  // The counters are shared with dsmstat: the child counts for itself.
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  const auto first = reinterpret_cast<std::uintptr_t>(node.stats) & ~(kPageBytes - 1);
  const auto end = reinterpret_cast<std::uintptr_t>(node.stats + 1);
  void* const own = ::mmap(reinterpret_cast<void*>(first), end - first, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (own == MAP_FAILED) end_without_memory("a forked child's counters");
  if (node.recorder != nullptr) node.recorder->detach();
  adopt_heap();
  release(node);
}

bool heap_inherited() { return inherited; }

bool in_forked_child() { return forked; }

}  // namespace dsm::runtime
