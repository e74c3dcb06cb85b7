// PageRank over a real directed graph, the dependencies of Debian's packages: who is depended on most, and by whom?
// A pull-style power iteration: each worker computes the ranks of its vertices from the contributions of all.
#include <fmt/format.h>

#include <algorithm>
#include <barrier>
#include <bit>
#include <cmath>
#include <numeric>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "bench/apps/pagerank/graph.h"
#include "bench/apps/pagerank/placed.h"

namespace {

using app::Graph;
using app::Job;
using app::kBlockVertices;
using app::Part;
using app::Placed;
using app::Ranking;
using app::Sums;

struct Settings {
  app::RankOptions rank;
  std::string graph = "build/package-graph.txt";
  bool hints = true;
  unsigned top = 10;
};

// One worker's share of the work.
class Ranker {
 public:
  Ranker(Job& job, const Settings& settings, const Placed& placed, const app::Worker& worker, std::barrier<>& node)
      : job_(job), settings_(settings), placed_(placed), own_(placed.parts[job.node()]), worker_(worker), node_(node) {
    first_ = placed.first_blocks[worker.index] - own_.first_block;
    end_ = placed.first_blocks[worker.index + 1] - own_.first_block;
  }

  // Returns the number of edges followed.
  std::uint64_t run(Ranking& result) {
    const auto count = static_cast<double>(placed_.vertices);
    const double damping = settings_.rank.damping;
    begin();
    for (;;) {
      const unsigned turn = result.iterations % 2;
      if (settings_.hints) fetch(turn);
      const Sums sums = add_up(turn);
      result.change = sums.change;
      const bool settled = result.iterations > 0 && sums.change < settings_.rank.tolerance;
      if (settled || result.iterations == settings_.rank.iterations) break;
      const double base = (1 - damping) / count + damping * sums.dangling / count;
      for (std::uint64_t block = first_; block < end_; ++block) rank_block(block, turn, base);
      if (settings_.hints) give_up(turn);
      job_.sync_workers();
      ++result.iterations;
    }
    return edges() * result.iterations;
  }

 private:
  std::uint64_t block_end(std::uint64_t block) const { return std::min((block + 1) * kBlockVertices, own_.vertices); }

  std::uint64_t edges() const {
    const std::uint64_t begin = std::min(first_ * kBlockVertices, own_.vertices);
    const std::uint64_t end = std::min(end_ * kBlockVertices, own_.vertices);
    return own_.edge_begin[end] - own_.edge_begin[begin];
  }

  void begin() {
    const double rank = 1 / static_cast<double>(placed_.vertices);
    for (std::uint64_t block = first_; block < end_; ++block) {
      Sums sums;
      for (std::uint64_t v = block * kBlockVertices; v < block_end(block); ++v) set_rank(v, rank, 0, sums);
      placed_.sums(own_, 0)[block] = sums;
    }
    if (settings_.hints) give_up(1);
    job_.sync_workers();
  }

  void rank_block(std::uint64_t block, unsigned turn, double base) {
    const std::uint64_t read = turn * placed_.stride;
    const std::uint64_t written = placed_.stride - read;
    Sums sums;
    for (std::uint64_t v = block * kBlockVertices; v < block_end(block); ++v) {
      double sum = 0;
      for (std::uint64_t e = own_.edge_begin[v]; e < own_.edge_begin[v + 1]; ++e) sum += own_.edges[e][read];
      const double rank = base + settings_.rank.damping * sum;
      sums.change += std::abs(rank - own_.ranks[v]);
      set_rank(v, rank, written, sums);
    }
    placed_.sums(own_, 1 - turn)[block] = sums;
  }

  void set_rank(std::uint64_t v, double rank, std::uint64_t buffer, Sums& sums) {
    const bool leads_nowhere = own_.out_degree[v] == 0;
    if (leads_nowhere) sums.dangling += rank;
    own_.ranks[v] = rank;
    own_.contributions[buffer + v] = leads_nowhere ? 0 : rank / own_.out_degree[v];
  }

  // In the blocks' order, whoever made them.
  Sums add_up(unsigned turn) const {
    Sums all;
    for (unsigned node = 0; node < job_.nodes(); ++node) {
      const Part& part = placed_.parts[node];
      const Sums* sums = placed_.sums(part, turn);
      for (std::uint64_t block = 0; block < part.blocks; ++block) {
        all.dangling += sums[block].dangling;
        all.change += sums[block].change;
      }
    }
    return all;
  }

  // Calls `hint` for the parts this worker cares for: its node's threads share them out, starting behind their own node
  // so that not all nodes ask the same one at once.
  template <typename Hint>
  void for_parts(Hint hint) const {
    for (unsigned i = worker_.thread; i < job_.nodes(); i += job_.threads()) {
      const unsigned node = (job_.node() + i) % job_.nodes();
      hint(placed_.parts[node], node == job_.node());
    }
  }

  // This buffer is going to be read in all parts, and the other one written in the own part.
  void fetch(unsigned turn) const {
    for_parts([&](const Part& part, bool own) {
      dsm::prefetch(placed_.buffer(part, turn), app::buffer_bytes(part));
      if (own) dsm::prefetch(placed_.buffer(part, 1 - turn), app::buffer_bytes(part), dsm::access::write);
    });
  }

  // What the others are going to read next is written, and what they are going to write next has been read.
  void give_up(unsigned turn) const {
    node_.arrive_and_wait();
    for_parts([&](const Part& part, bool own) {
      dsm::release(placed_.buffer(part, own ? 1 - turn : turn), app::buffer_bytes(part));
    });
  }

  Job& job_;
  const Settings& settings_;
  const Placed& placed_;
  const Part& own_;
  app::Worker worker_;
  std::barrier<>& node_;
  std::uint64_t first_ = 0;  // its blocks within the node's part
  std::uint64_t end_ = 0;
};

std::vector<double> collect(const Job& job, const Placed& placed) {
  std::vector<double> ranks;
  for (unsigned node = 0; node < job.nodes(); ++node) {
    const Part& part = placed.parts[node];
    ranks.insert(ranks.end(), part.ranks, part.ranks + part.vertices);
  }
  return ranks;
}

void compare(Job& job, const Graph& graph, const Ranking& ranking, const Ranking& expected) {
  if (ranking.iterations != expected.iterations) {
    return job.fail(
        fmt::format("it took {} iterations, and {} in one process.", ranking.iterations, expected.iterations));
  }
  for (std::size_t v = 0; v < graph.vertices(); ++v) {
    if (std::bit_cast<std::uint64_t>(ranking.ranks[v]) == std::bit_cast<std::uint64_t>(expected.ranks[v])) continue;
    return job.fail(fmt::format("the rank of {} is {}, and {} in one process.", graph.names[v], ranking.ranks[v],
                                expected.ranks[v]));
  }
  const double all = std::accumulate(ranking.ranks.begin(), ranking.ranks.end(), 0.0);
  if (std::abs(all - 1) > 1e-9) job.fail(fmt::format("the ranks sum up to {} instead of 1.", all));
}

nlohmann::ordered_json top(const Graph& graph, const std::vector<double>& ranks, unsigned count) {
  std::vector<std::size_t> order(ranks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return ranks[a] > ranks[b]; });
  auto list = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < std::min<std::size_t>(count, order.size()); ++i) {
    const std::size_t v = order[i];
    list.push_back(
        {{"name", graph.names[v]}, {"rank", ranks[v]}, {"in_edges", graph.in_begin[v + 1] - graph.in_begin[v]}});
  }
  return list;
}

void print_top(const nlohmann::ordered_json& list) {
  fmt::print("{:>4} {:>10} {:>9}  {}\n", "", "rank", "in-edges", "vertex");
  for (std::size_t i = 0; i < list.size(); ++i) {
    fmt::print("{:>4} {:>10.6f} {:>9}  {}\n", i + 1, list[i]["rank"].get<double>(),
               list[i]["in_edges"].get<std::uint64_t>(), list[i]["name"].get<std::string>());
  }
}

// Node 0's report: the result beside that of one process.
app::Report make_report(Job& job, const Settings& settings, const Graph& graph, Ranking& ranking,
                        const Placed& placed) {
  ranking.ranks = collect(job, placed);
  const double start = app::now_seconds();
  const Ranking expected = app::rank_plainly(graph, settings.rank);
  app::Report report;
  report.reference_seconds = app::now_seconds() - start;
  compare(job, graph, ranking, expected);
  report.parameters = {{"vertices", graph.vertices()}, {"edges", graph.edges()}, {"hints", settings.hints}};
  report.results = {{"source", graph.source}, {"iterations", ranking.iterations}, {"change", ranking.change}};
  report.results["top"] = top(graph, ranking.ranks, settings.top);
  app::Checksum checksum;
  for (const double rank : ranking.ranks) checksum.add(std::bit_cast<std::uint64_t>(rank));
  report.checksum = checksum.value();
  print_top(report.results["top"]);
  return report;
}

void add_settings(CLI::App& cli, Settings& settings) {
  cli.add_option("--graph", settings.graph, "the graph, made by scripts/package-graph")->capture_default_str();
  cli.add_option("--damping", settings.rank.damping, "chance of following an edge")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  cli.add_option("--iterations", settings.rank.iterations, "iterations at the most")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  cli.add_option("--tolerance", settings.rank.tolerance, "ends when all changes sum up to less; 0 for all iterations")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  cli.add_option("--top", settings.top, "how many of the highest ranks to print")->capture_default_str();
  cli.add_flag("--hints,!--no-hints", settings.hints, "prefetch and release hints (on unless --no-hints)");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli{"PageRank of a directed graph in global memory, compared bit by bit with one process."};
  app::Options options;
  Settings settings;
  add_settings(cli, settings);
  app::add_options(cli, options);
  CLI11_PARSE(cli, argc, argv);

  Job job{"app_pagerank", options};
  Placed* placed = app::make_placed(job);
  Graph graph;
  if (job.node() == 0) {
    std::string why;
    if (!app::read_graph(settings.graph, graph, why)) job.die(why);
    app::place(job, graph, *placed);
  }
  job.sync_nodes();

  std::barrier<> node{static_cast<std::ptrdiff_t>(job.threads())};
  Ranking ranking;
  job.measure("edges", [&](const app::Worker& worker) {
    Ranking mine;
    const std::uint64_t edges = Ranker{job, settings, *placed, worker, node}.run(mine);
    if (worker.index == 0) ranking = mine;
    return edges;
  });
  app::Report report;
  if (job.node() == 0) report = make_report(job, settings, graph, ranking, *placed);
  return job.finish(report);
}
