// The graph in global memory, cut into one part a node and homed where it is used.
//
// 1. A part is a run of whole blocks (kBlockVertices vertices, one page of contributions), so no two nodes write to the
//    same page. Each worker has a run of its node's blocks.
// 2. What the others read is in two buffers: the part's contributions and, on the pages behind them, its blocks' sums.
//    An edge is the address of its source's contribution in buffer 0; buffer 1 is `stride` further in every part.
// 3. Iteration i reads buffer i % 2 of all parts and writes the other one of its own: one barrier an iteration.
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
  double* contributions;  // rank / out-degree, in buffer 0
  double* ranks;
  std::uint32_t* out_degree;
  std::uint64_t* edge_begin;  // vertices + 1
  const double** edges;
};

struct Placed {
  std::uint64_t vertices;
  std::uint64_t stride;         // from buffer 0 to buffer 1, in doubles; whole pages
  Part* parts;                  // one a node
  std::uint64_t* first_blocks;  // workers + 1: worker w ranks the blocks [first_blocks[w], first_blocks[w + 1])

  double* buffer(const Part& part, unsigned which) const { return part.contributions + which * stride; }
  Sums* sums(const Part& part, unsigned which) const {
    return reinterpret_cast<Sums*>(buffer(part, which) + part.blocks * kBlockVertices);
  }
};

constexpr std::size_t buffer_bytes(const Part& part) {
  return part.blocks * kBlockVertices * sizeof(double) + whole_pages(part.blocks * sizeof(Sums));
}

// Called by every node; node 0 fills in what it gets with `place`, before the others look at it.
Placed* make_placed(Job& job);
void place(Job& job, const Graph& graph, Placed& placed);

}  // namespace app
