#include "bench/apps/pagerank/graph.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

namespace app {
namespace {

using OutEdges = std::vector<std::vector<std::uint32_t>>;

// "name 4 8 15": a vertex and its out-neighbours.
bool read_vertex(const std::string& line, std::size_t vertices, std::string& name,
                 std::vector<std::uint32_t>& targets) {
  std::istringstream words{line};
  if (!(words >> name)) return false;
  for (std::uint64_t target; words >> target;) {
    if (target >= vertices) return false;
    if (!targets.empty() && target <= targets.back()) return false;
    targets.push_back(static_cast<std::uint32_t>(target));
  }
  return words.eof();
}

// The transposed lists: sources come out ascending because vertices are visited in order.
void turn_round(const OutEdges& out, Graph& graph) {
  graph.in_begin.assign(out.size() + 1, 0);
  for (const auto& targets : out) {
    graph.out_degree.push_back(static_cast<std::uint32_t>(targets.size()));
    for (const std::uint32_t target : targets) ++graph.in_begin[target + 1];
  }
  for (std::size_t v = 0; v < out.size(); ++v) graph.in_begin[v + 1] += graph.in_begin[v];
  graph.in_sources.resize(graph.in_begin.back());
  std::vector<std::uint64_t> next(graph.in_begin.begin(), graph.in_begin.end() - 1);
  for (std::size_t v = 0; v < out.size(); ++v) {
    for (const std::uint32_t target : out[v]) graph.in_sources[next[target]++] = static_cast<std::uint32_t>(v);
  }
}

// "word rest of the line" -> the rest, or false when the line begins with another word.
bool field(std::istream& in, const std::string& word, std::string& rest) {
  std::string line;
  if (!std::getline(in, line) || line.compare(0, word.size() + 1, word + ' ') != 0) return false;
  rest = line.substr(word.size() + 1);
  return true;
}

bool count_field(std::istream& in, const std::string& word, std::uint64_t& count) {
  std::string rest;
  if (!field(in, word, rest) || rest.empty() || rest.find_first_not_of("0123456789") != std::string::npos) return false;
  std::istringstream number{rest};
  return static_cast<bool>(number >> count);
}

}  // namespace

bool read_graph(const std::string& path, Graph& graph, std::string& why) {
  std::ifstream in{path};
  if (!in) {
    why =
        fmt::format("there is no graph at {}. Make it with scripts/package-graph, or name another with --graph.", path);
    return false;
  }
  std::string version;
  std::uint64_t vertices = 0;
  std::uint64_t edges = 0;
  const bool headed = field(in, "dsm-graph", version) && version == "1" && field(in, "source", graph.source) &&
                      count_field(in, "vertices", vertices) && count_field(in, "edges", edges);
  if (!headed || vertices == 0 || vertices > std::numeric_limits<std::uint32_t>::max()) {
    why = fmt::format("{} does not begin as a graph of version 1. Make it again with scripts/package-graph.", path);
    return false;
  }
  OutEdges out;
  std::string line;
  while (out.size() < vertices && std::getline(in, line)) {
    if (!read_vertex(line, vertices, graph.names.emplace_back(), out.emplace_back())) {
      why = fmt::format("line {} of {} is no vertex. Make the graph again with scripts/package-graph.", out.size() + 4,
                        path);
      return false;
    }
  }
  turn_round(out, graph);
  if (out.size() != vertices || graph.edges() != edges || std::getline(in, line)) {
    why = fmt::format(
        "{} holds {} vertices and {} edges, but its head says {} and {}. Make it again with "
        "scripts/package-graph.",
        path, out.size(), graph.edges(), vertices, edges);
    return false;
  }
  return true;
}

Ranking rank_plainly(const Graph& graph, const RankOptions& options) {
  const std::size_t vertices = graph.vertices();
  const auto count = static_cast<double>(vertices);
  Ranking result;
  result.ranks.assign(vertices, 1 / count);
  std::vector<double> contributions(vertices);
  while (result.iterations < options.iterations) {
    double dangling = 0;
    for (std::size_t block = 0; block < vertices; block += kBlockVertices) {
      double sum = 0;
      for (std::size_t v = block; v < std::min(block + kBlockVertices, vertices); ++v) {
        const bool leads_nowhere = graph.out_degree[v] == 0;
        if (leads_nowhere) sum += result.ranks[v];
        contributions[v] = leads_nowhere ? 0 : result.ranks[v] / graph.out_degree[v];
      }
      dangling += sum;
    }
    const double base = (1 - options.damping) / count + options.damping * dangling / count;
    result.change = 0;
    for (std::size_t block = 0; block < vertices; block += kBlockVertices) {
      double change = 0;
      for (std::size_t v = block; v < std::min(block + kBlockVertices, vertices); ++v) {
        double sum = 0;
        for (std::uint64_t e = graph.in_begin[v]; e < graph.in_begin[v + 1]; ++e) {
          sum += contributions[graph.in_sources[e]];
        }
        const double rank = base + options.damping * sum;
        change += std::abs(rank - result.ranks[v]);
        result.ranks[v] = rank;
      }
      result.change += change;
    }
    ++result.iterations;
    if (result.change < options.tolerance) break;
  }
  return result;
}

}  // namespace app
