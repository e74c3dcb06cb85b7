// A directed graph in plain memory, read from the file that scripts/package-graph writes (docs/graph-format.md), and
// the PageRank of it in one thread: what the parallel program's result is compared with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace app {

struct Graph {
  std::string source;  // where it comes from, for people
  std::vector<std::string> names;
  std::vector<std::uint32_t> out_degree;
  std::vector<std::uint64_t> in_begin;    // vertices + 1 of them; v's in-edges are [in_begin[v], in_begin[v + 1])
  std::vector<std::uint32_t> in_sources;  // ascending for each vertex

  std::size_t vertices() const { return names.size(); }
  std::size_t edges() const { return in_sources.size(); }
};

// False: `why` is a sentence.
bool read_graph(const std::string& path, Graph& graph, std::string& why);

struct RankOptions {
  double damping = 0.85;
  unsigned iterations = 100;  // at the most
  double tolerance = 1e-10;   // ends when the sum of all changes is below it; 0 for the full number
};

struct Ranking {
  std::vector<double> ranks;
  unsigned iterations = 0;
  double change = 0;  // in the last iteration, summed up over all vertices
};

// Sums over all vertices are made block by block, each block's sum from its first vertex to its last, then added up in
// the blocks' order. Who else sums in this order gets the same bits.
inline constexpr std::size_t kBlockVertices = 512;

Ranking rank_plainly(const Graph& graph, const RankOptions& options);

}  // namespace app
