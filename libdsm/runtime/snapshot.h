// The heap of a node with memory nodes, as of a fork, for the child: a file without a name that the child maps
// privately. Local memory stays bounded (the file's pages are the page cache's), and the parent waits for the copy.
//
// 1. From take_snapshot() to thaw() no store of any thread to the heap succeeds: every page is lowered to read access
//    under its entry's lock, and a write fault is answered only after thaw() (Pages::freeze). So the copy is of one
//    moment. Pages that rest stay out of reach: one that was opened again would be read when its bytes are gone.
// 2. The forking thread only reads the heap meanwhile, but for locks of libc's that libc holds across the fork and sets
//    anew in the child: its own stores succeed, and the child does not see them.
// The file lies in TMPDIR, else /var/tmp, and takes as much as the heap's pages that were ever touched.
#pragma once

namespace dsm::runtime {

struct Node;

// In the parent, before the fork; jemalloc and the chunks are still. Without a snapshot (its reason has been logged, or
// several program nodes use the lent memory) the child has no heap.
void take_snapshot(Node& node);
void thaw(Node& node);  // in the parent, after the fork
// In the child: the heap is there from now on. Once; async-signal-safe.
bool adopt_snapshot(Node& node);

}  // namespace dsm::runtime
