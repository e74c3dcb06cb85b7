// The graph in global memory, cut into one part a worker and homed where it is used.
//
// 1. A part is a run of whole blocks (kBlockVertices vertices, one page of contributions), so no two workers write to
//    the same page.
// 2. What the others read is a part's board, of which there are two: its contributions and, on the pages behind them,
//    its blocks' sums. An edge is its source's part and its place on the board.
// 3. Iteration i reads board i % 2 of all parts and writes the other one of its own: one barrier an iteration.
// 4. Only the part's owner touches ranks, out_degree, edge_begin and edges once the graph is placed.
#pragma once

#include "bench/apps/frame/job.h"
#include "bench/apps/pagerank/graph.h"

namespace app {

struct Sums {
  double dangling = 0;  // ranks of vertices without out-edges
  double change = 0;    // by how much the last iteration changed the ranks
};

struct Edge {
  std::uint32_t part, place;
};

struct Part {
  std::uint64_t first;  // its first vertex
  std::uint64_t vertices;
  std::uint64_t first_block;
  std::uint64_t blocks;
  double* boards[2];  // contributions, rank / out-degree, and sums; owned mode has its own
  double* ranks;
  std::uint32_t* out_degree;
  std::uint64_t* edge_begin;  // vertices + 1
  Edge* edges;
};

struct Placed {
  std::uint64_t vertices;
  Part* parts;  // one a worker
};

constexpr std::size_t board_doubles(const Part& part) {
  return part.blocks * kBlockVertices + whole_pages(part.blocks * sizeof(Sums)) / sizeof(double);
}
inline const Sums* sums_of(const Part& part, const double* board) {
  return reinterpret_cast<const Sums*>(board + part.blocks * kBlockVertices);
}

// Called by every node; node 0 fills in what it gets with `place`, before the others look at it.
Placed* make_placed(Job& job);
void place(Job& job, const Graph& graph, Placed& placed);

}  // namespace app
