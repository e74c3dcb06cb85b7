// The graph in global memory, cut into one part a node and homed where it is used.
//
// 1. A part is a run of whole blocks (kBlockVertices vertices, one page of contributions), so no two nodes write to the
//    same page. Each worker has a run of its node's blocks.
// 2. An edge is the address of its source's contribution in buffer 0; buffer 1 is `stride` further in every part.
// 3. Iteration i reads buffer i % 2 and the sums of slot i % 2, and writes the other ones: one barrier an iteration.
// 4. Only the part's owner touches ranks, out_degree, edge_begin and edges once the graph is placed.
#pragma once

#include "bench/apps/frame/job.h"
#include "bench/apps/pagerank/graph.h"

namespace app {

struct Sums {
  double dangling = 0;  // ranks of vertices without out-edges
  double change = 0;    // by how much the last iteration changed the ranks
};

struct Part {
  std::uint64_t first;  // its first vertex
  std::uint64_t vertices;
  std::uint64_t first_block;
  std::uint64_t blocks;
  double* contributions;  // two buffers of `stride`: rank / out-degree
  double* ranks;
  Sums* sums;  // two slots of `blocks`
  std::uint32_t* out_degree;
  std::uint64_t* edge_begin;  // vertices + 1
  const double** edges;
};

struct Placed {
  std::uint64_t vertices;
  std::uint64_t stride;         // a multiple of kBlockVertices
  Part* parts;                  // one a node
  std::uint64_t* first_blocks;  // workers + 1: worker w ranks the blocks [first_blocks[w], first_blocks[w + 1])

  std::size_t buffer_bytes(const Part& part) const { return part.vertices * sizeof(double); }
};

// Called by every node; node 0 fills in what it gets with `place`, before the others look at it.
Placed* make_placed(Job& job);
void place(Job& job, const Graph& graph, Placed& placed);

}  // namespace app
