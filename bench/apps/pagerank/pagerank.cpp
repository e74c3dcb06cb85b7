// PageRank over a real directed graph, the dependencies of Debian's packages: who is depended on most, and by whom?
// A pull-style power iteration: each worker computes the ranks of its vertices from the contributions of all.
#include <fmt/core.h>

#include <algorithm>
#include <barrier>
#include <bit>
#include <cmath>
#include <numeric>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "bench/apps/pagerank/boards.h"
#include "bench/apps/pagerank/graph.h"
#include "bench/apps/pagerank/placed.h"
#include "support/command_line.h"

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
template <typename Boards>
class Ranker {
 public:
  Ranker(Job& job, const Settings& settings, const Placed& placed, Boards boards, const app::Worker& worker)
      : job_(job),
        settings_(settings),
        placed_(placed),
        own_(placed.parts[worker.index]),
        boards_(std::move(boards)),
        worker_(worker) {}

  // Returns the number of edges followed.
  std::uint64_t run(Ranking& result) {
    const auto count = static_cast<double>(placed_.vertices);
    const double damping = settings_.rank.damping;
    begin();
    for (;;) {
      const double start = app::now_seconds();
      const unsigned turn = result.iterations % 2;
      const double* const* const boards = boards_.read(turn);
      const Sums sums = add_up(boards);
      result.change = sums.change;
      const bool settled = result.iterations > 0 && sums.change < settings_.rank.tolerance;
      if (settled || result.iterations == settings_.rank.iterations) break;
      const double base = (1 - damping) / count + damping * sums.dangling / count;
      double* const written = boards_.write(1 - turn);
      for (std::uint64_t block = 0; block < own_.blocks; ++block) rank_block(block, boards, base, written);
      boards_.done(turn);
      job_.sync_workers();
      ++result.iterations;
      job_.note_latency(worker_.index, app::now_seconds() - start);
    }
    return own_.edge_begin[own_.vertices] * result.iterations;
  }

 private:
  std::uint64_t block_end(std::uint64_t block) const { return std::min((block + 1) * kBlockVertices, own_.vertices); }

  void begin() {
    const double rank = 1 / static_cast<double>(placed_.vertices);
    double* const written = boards_.write(0);
    for (std::uint64_t block = 0; block < own_.blocks; ++block) {
      Sums sums;
      for (std::uint64_t v = block * kBlockVertices; v < block_end(block); ++v) set_rank(v, rank, written, sums);
      const_cast<Sums*>(app::sums_of(own_, written))[block] = sums;
    }
    boards_.done(1);
    job_.sync_workers();
  }

  void rank_block(std::uint64_t block, const double* const* boards, double base, double* written) {
    Sums sums;
    for (std::uint64_t v = block * kBlockVertices; v < block_end(block); ++v) {
      double sum = 0;
      for (std::uint64_t e = own_.edge_begin[v]; e < own_.edge_begin[v + 1]; ++e) {
        sum += boards[own_.edges[e].part][own_.edges[e].place];
      }
      const double rank = base + settings_.rank.damping * sum;
      sums.change += std::abs(rank - own_.ranks[v]);
      set_rank(v, rank, written, sums);
    }
    const_cast<Sums*>(app::sums_of(own_, written))[block] = sums;
  }

  void set_rank(std::uint64_t v, double rank, double* written, Sums& sums) {
    const bool leads_nowhere = own_.out_degree[v] == 0;
    if (leads_nowhere) sums.dangling += rank;
    own_.ranks[v] = rank;
    written[v] = leads_nowhere ? 0 : rank / own_.out_degree[v];
  }

  // In the blocks' order, whoever made them.
  Sums add_up(const double* const* boards) const {
    Sums all;
    for (unsigned worker = 0; worker < job_.workers(); ++worker) {
      const Part& part = placed_.parts[worker];
      const Sums* const sums = app::sums_of(part, boards[worker]);
      for (std::uint64_t block = 0; block < part.blocks; ++block) {
        all.dangling += sums[block].dangling;
        all.change += sums[block].change;
      }
    }
    return all;
  }

  Job& job_;
  const Settings& settings_;
  const Placed& placed_;
  const Part& own_;
  Boards boards_;
  app::Worker worker_;
};

std::vector<double> collect(const Job& job, const Placed& placed) {
  std::vector<double> ranks;
  for (unsigned worker = 0; worker < job.workers(); ++worker) {
    const Part& part = placed.parts[worker];
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

void add_settings(dsm::support::CommandLine& cli, Settings& settings) {
  cli.option("--graph", settings.graph, "the graph, made by scripts/package-graph").show_default();
  cli.option("--damping", settings.rank.damping, "chance of following an edge").range(0.0, 1.0).show_default();
  cli.option("-n,--iterations", settings.rank.iterations, "iterations at the most").range(1, 1000000).show_default();
  cli.option("--tolerance", settings.rank.tolerance, "ends when all changes sum up to less; 0 for all iterations")
      .not_negative()
      .show_default();
  cli.option("--top", settings.top, "how many of the highest ranks to print").show_default();
  cli.flag("--hints,!--no-hints", settings.hints, "prefetch and release hints (on unless --no-hints)");
}

template <typename Boards>
int run_mode(const Settings& settings, const app::Options& options) {
  Job job{"app_pagerank", options};
  Placed* placed = app::make_placed(job);
  Graph graph;
  if (job.node() == 0) {
    std::string why;
    if (!app::read_graph(settings.graph, graph, why)) job.die(why);
    app::place(job, graph, *placed);
  }
  job.sync_nodes();
  auto ready = Boards::prepare(job, *placed);

  std::barrier<> node{static_cast<std::ptrdiff_t>(job.own_workers())};
  Ranking ranking;
  job.measure("edges", [&](const app::Worker& worker) {
    Ranking mine;
    Boards boards{job, *placed, ready, worker, node, settings.hints};
    const std::uint64_t edges = Ranker<Boards>{job, settings, *placed, std::move(boards), worker}.run(mine);
    if (worker.index == 0) ranking = mine;
    return edges;
  });
  app::Report report;
  if (job.node() == 0) report = make_report(job, settings, graph, ranking, *placed);
  return job.finish(report);
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{"PageRank of a directed graph in global memory, compared bit by bit with one process."};
  app::Options options;
  Settings settings;
  add_settings(cli, settings);
  app::add_modes(cli, options);
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;
  return app::in_mode<app::PlainBoards, app::HintedBoards, app::OwnedBoards>(
      options.mode, [&]<typename Boards>(std::type_identity<Boards>) { return run_mode<Boards>(settings, options); });
}
