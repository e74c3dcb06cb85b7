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

void allocate(Job& job, unsigned node, std::uint64_t stride, std::uint64_t edges, Part& part) {
  const auto there = dsm::on_node(node);
  part.contributions = job.pages<double>(2 * stride, there);
  part.ranks = job.pages<double>(part.vertices, there);
  part.out_degree = job.pages<std::uint32_t>(part.vertices, there);
  part.edge_begin = job.pages<std::uint64_t>(part.vertices + 1, there);
  part.edges = job.pages<const double*>(edges, there);
}

void fill(const Graph& graph, const std::vector<const double*>& slots, Part& part) {
  const std::uint64_t first_edge = graph.in_begin[part.first];
  for (std::uint64_t v = 0; v < part.vertices; ++v) part.out_degree[v] = graph.out_degree[part.first + v];
  for (std::uint64_t v = 0; v <= part.vertices; ++v) part.edge_begin[v] = graph.in_begin[part.first + v] - first_edge;
  for (std::uint64_t e = 0; e < part.edge_begin[part.vertices]; ++e) {
    part.edges[e] = slots[graph.in_sources[first_edge + e]];
  }
}

// Node 0 is done with the part: its owner need not ask for it.
void hand_over(unsigned node, const Part& part) {
  const std::uint64_t edges = part.edge_begin[part.vertices];
  dsm::transfer(part.out_degree, part.vertices * sizeof(std::uint32_t), node);
  dsm::transfer(part.edges, edges * sizeof(const double*), node);
  dsm::transfer(part.edge_begin, (part.vertices + 1) * sizeof(std::uint64_t), node);
}

}  // namespace

Placed* make_placed(Job& job) {
  auto* placed = job.shared<Placed>(1);
  auto* parts = job.shared<Part>(job.nodes());
  auto* first_blocks = job.shared<std::uint64_t>(job.workers() + 1);
  if (job.node() == 0) {
    placed->parts = parts;
    placed->first_blocks = first_blocks;
  }
  return placed;
}

void place(Job& job, const Graph& graph, Placed& placed) {
  placed.vertices = graph.vertices();
  cut(graph, job.workers(), placed.first_blocks);
  for (unsigned node = 0; node < job.nodes(); ++node) {
    Part& part = placed.parts[node];
    part.first_block = placed.first_blocks[node * job.threads()];
    part.blocks = placed.first_blocks[(node + 1) * job.threads()] - part.first_block;
    part.first = std::min(part.first_block * kBlockVertices, placed.vertices);
    part.vertices = std::min((part.first_block + part.blocks) * kBlockVertices, placed.vertices) - part.first;
    placed.stride = std::max(placed.stride, buffer_bytes(part) / sizeof(double));
  }
  std::vector<const double*> slots(graph.vertices());
  for (unsigned node = 0; node < job.nodes(); ++node) {
    Part& part = placed.parts[node];
    const std::uint64_t edges = graph.in_begin[part.first + part.vertices] - graph.in_begin[part.first];
    allocate(job, node, placed.stride, edges, part);
    for (std::uint64_t v = 0; v < part.vertices; ++v) slots[part.first + v] = part.contributions + v;
  }
  for (unsigned node = 0; node < job.nodes(); ++node) {
    fill(graph, slots, placed.parts[node]);
    if (node != 0) hand_over(node, placed.parts[node]);
  }
}

}  // namespace app
