#include "bench/apps/pagerank/placed.h"

#include <algorithm>
#include <cstring>

namespace app {
namespace {

// Cuts the blocks into one run a worker, each with about the same number of vertices and in-edges.
void cut(const Graph& graph, unsigned workers, std::uint64_t* first_blocks) {
  const std::uint64_t vertices = graph.vertices();
  const std::uint64_t blocks = (vertices + kBlockVertices - 1) / kBlockVertices;
  const std::uint64_t all = vertices + graph.edges();
  std::uint64_t block = 0;
  for (unsigned worker = 0; worker < workers; ++worker) {
    first_blocks[worker] = block;
    const std::uint64_t goal = all * (worker + 1) / workers;
    for (; block < blocks; ++block) {
      const std::uint64_t end = std::min((block + 1) * kBlockVertices, vertices);
      if (end + graph.in_begin[end] > goal && worker + 1 < workers) break;
    }
  }
  first_blocks[workers] = blocks;
}

void allocate(Job& job, unsigned node, std::uint64_t edges, Part& part) {
  const auto there = dsm::on_node(node);
  for (double*& board : part.boards) board = job.pages<double>(board_doubles(part), there);
  part.ranks = job.pages<double>(part.vertices, there);
  part.out_degree = job.pages<std::uint32_t>(part.vertices, there);
  part.edge_begin = job.pages<std::uint64_t>(part.vertices + 1, there);
  part.edges = job.pages<Edge>(edges, there);
}

void fill(const Graph& graph, const std::vector<Edge>& places, Part& part) {
  const std::uint64_t first_edge = graph.in_begin[part.first];
  for (std::uint64_t v = 0; v < part.vertices; ++v) part.out_degree[v] = graph.out_degree[part.first + v];
  for (std::uint64_t v = 0; v <= part.vertices; ++v) part.edge_begin[v] = graph.in_begin[part.first + v] - first_edge;
  for (std::uint64_t e = 0; e < part.edge_begin[part.vertices]; ++e) {
    part.edges[e] = places[graph.in_sources[first_edge + e]];
  }
}

// Node 0 is done with the part: its owner need not ask for it.
void hand_over(unsigned node, const Part& part) {
  const std::uint64_t edges = part.edge_begin[part.vertices];
  dsm::transfer(part.out_degree, part.vertices * sizeof(std::uint32_t), node);
  dsm::transfer(part.edges, edges * sizeof(Edge), node);
  dsm::transfer(part.edge_begin, (part.vertices + 1) * sizeof(std::uint64_t), node);
}

}  // namespace

Placed* make_placed(Job& job) {
  auto* placed = job.shared<Placed>(1);
  auto* parts = job.shared<Part>(job.workers());
  if (job.node() == 0) placed->parts = parts;
  return placed;
}

void place(Job& job, const Graph& graph, Placed& placed) {
  placed.vertices = graph.vertices();
  std::vector<std::uint64_t> first_blocks(job.workers() + 1);
  cut(graph, job.workers(), first_blocks.data());
  std::vector<Edge> places(graph.vertices());
  for (unsigned worker = 0; worker < job.workers(); ++worker) {
    Part& part = placed.parts[worker];
    part.blocks = first_blocks[worker + 1] - first_blocks[worker];
    part.first = std::min(first_blocks[worker] * kBlockVertices, placed.vertices);
    part.vertices = std::min(first_blocks[worker + 1] * kBlockVertices, placed.vertices) - part.first;
    const std::uint64_t edges = graph.in_begin[part.first + part.vertices] - graph.in_begin[part.first];
    allocate(job, worker / job.threads(), edges, part);
    for (std::uint64_t v = 0; v < part.vertices; ++v) places[part.first + v] = {worker, static_cast<std::uint32_t>(v)};
  }
  for (unsigned worker = 0; worker < job.workers(); ++worker) {
    fill(graph, places, placed.parts[worker]);
    const unsigned node = worker / job.threads();
    if (node != 0 && !job.native()) hand_over(node, placed.parts[worker]);
  }
}

}  // namespace app
