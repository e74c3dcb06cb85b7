// C = A * B by tiles. A, B and C start on node 0; each node computes a rectangle of C's tiles, so that with a grid of
// p * q nodes it needs 1/p of A and 1/q of B.
#include <fmt/core.h>

#include <bit>
#include <cstring>
#include <memory>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "bench/apps/matmul/access.h"
#include "bench/apps/matmul/matrix.h"
#include "bench/apps/matmul/strassen.h"
#include "support/command_line.h"

namespace {

using app::Job;
using app::kTileElements;
using app::Matrix;
using app::Product;
using app::Settings;

constexpr double kStrassenError = 64;  // times the plain product's bound: each level's sums add to it

// Rows and columns of tiles, from first to below end.
struct Rectangle {
  std::size_t first_row, end_row, first_column, end_column;
};

Rectangle share(std::size_t tiles, unsigned node, unsigned nodes) {
  unsigned rows = 1;  // the squarest grid of all nodes
  for (unsigned p = 1; p * p <= nodes; ++p) {
    if (nodes % p == 0) rows = p;
  }
  const unsigned columns = nodes / rows;
  // NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there is a node
  const unsigned row = node / columns;
  const unsigned column = node % columns;
  return {tiles * row / rows, tiles * (row + 1) / rows, tiles * column / columns, tiles * (column + 1) / columns};
}

// Each tile of C is summed up in plain memory, then stored once.
template <typename T, typename Tiles>
std::uint64_t compute(const Job& job, const Product<T>& product, Tiles& tiles, const app::Worker& worker) {
  const Rectangle mine = share(product.c.tiles, worker.index / job.threads(), job.nodes());
  const std::size_t columns = mine.end_column - mine.first_column;
  const std::size_t count = (mine.end_row - mine.first_row) * columns;
  std::uint64_t operations = 0;
  for (std::size_t i = worker.index % job.threads(); i < count; i += job.threads()) {
    const std::size_t row = mine.first_row + i / columns, column = mine.first_column + i % columns;
    app::TileSum<T> sum{};
    for (std::size_t k = 0; k < product.a.tiles; ++k) {
      tiles.a(row, k,
              [&](const T* a) { tiles.b(k, column, [&](const T* b) { app::multiply_tile(a, b, sum.data()); }); });
    }
    tiles.store(row, column, sum.data());
    operations += 2 * kTileElements * app::kTile * product.a.tiles;
  }
  return operations;
}

// Strassen's way: the worker's leaves, then its tiles of the sum. A share of the 2 * size^3 operations of the plain
// way, so that the two can be compared.
template <typename T, typename Tiles>
std::uint64_t compute_leaves(Job& job, const Product<T>& product, Tiles& tiles, const app::Worker& worker) {
  const std::size_t count = product.c.tiles * product.c.tiles;
  {
    app::StrassenLeaves<T> leaves(product.c.tiles);
    for (std::size_t leaf = worker.index; leaf < app::kStrassenLeaves; leaf += job.workers()) {
      const double start = app::now_seconds();
      leaves.compute(
          leaf, [&](std::size_t row, std::size_t column, auto f) { tiles.a(row, column, f); },
          [&](std::size_t row, std::size_t column, auto f) { tiles.b(row, column, f); });
      job.note_latency(worker.index, app::now_seconds() - start);
    }
    for (std::size_t tile = 0; tile < count; ++tile) tiles.put_part(worker.index, tile, leaves.sum(tile));
  }
  job.sync_workers();
  const std::size_t begin = count * worker.index / job.workers(), end = count * (worker.index + 1) / job.workers();
  for (std::size_t tile = begin; tile < end; ++tile) {
    app::TileSum<T> sum{};
    for (unsigned other = 0; other < job.workers(); ++other) {
      tiles.part(other, tile, [&](const T* part) { app::add_signed(1, part, sum.data()); });
    }
    tiles.store(tile / product.c.tiles, tile % product.c.tiles, sum.data());
  }
  const std::size_t size = product.c.size;
  return 2 * size * size * size / job.workers();
}

// Blocks of A or B that the leaves of a node's workers need.
std::uint64_t blocks_needed(const Job& job, unsigned node, const int (&signs)[7][4]) {
  std::uint64_t blocks = 0;
  for (std::size_t block = 0; block < app::kStrassenBlocks * app::kStrassenBlocks; ++block) {
    bool needed = false;
    for (std::size_t leaf = 0; leaf < app::kStrassenLeaves; ++leaf) {
      needed |= leaf % job.workers() / job.threads() == node &&
                app::sign_of(signs, leaf, block / app::kStrassenBlocks, block % app::kStrassenBlocks) != 0;
    }
    blocks += needed ? 1 : 0;
  }
  return blocks;
}

// What has to move: of A and B what the other nodes need, the parts to who adds them up, and C to node 0, unless
// `stays`: it is left where it was computed.
template <typename T>
std::uint64_t least_bytes(const Job& job, const Settings& settings, const Product<T>& product, bool stays) {
  const std::uint64_t all = product.c.tiles * product.c.tiles, nodes = job.nodes();
  std::uint64_t tiles = 0;
  if (settings.parts) {
    const std::uint64_t a_block = all / (app::kStrassenBlocks * app::kStrassenBlocks);
    for (unsigned node = 1; node < nodes; ++node) {
      tiles += a_block * (blocks_needed(job, node, app::kLeft) + blocks_needed(job, node, app::kRight));
    }
    tiles += all * job.threads() * (nodes - 1) + (stays ? 0 : all * (nodes - 1) / nodes);
  }
  for (unsigned node = 1; !settings.parts && node < nodes; ++node) {
    const Rectangle one = share(product.c.tiles, node, job.nodes());
    const std::uint64_t rows = one.end_row - one.first_row, columns = one.end_column - one.first_column;
    tiles += (rows + columns) * product.c.tiles + (stays ? 0 : rows * columns);
  }
  return tiles * kTileElements * sizeof(T);
}

// The matrices begin in node 0's memory: A and B random, C zero.
template <typename T>
Product<T>* make_product(Job& job, const Settings& settings, std::uint64_t seed) {
  auto* product = job.shared<Product<T>>(1);
  if (job.node() == 0) {
    const std::size_t unit = settings.parts ? app::kStrassenBlocks : 1;
    const std::size_t tiles = (Matrix<T>::tiles_for(settings.size) + unit - 1) / unit * unit;
    const std::size_t elements = tiles * tiles * kTileElements;
    for (Matrix<T>* matrix : {&product->a, &product->b, &product->c}) {
      *matrix = {job.pages<T>(elements), settings.size, tiles};
    }
    app::fill_randomly(product->a, seed, 1);
    app::fill_randomly(product->b, seed, 2);
    std::memset(product->c.elements, 0, elements * sizeof(T));
  }
  job.sync_nodes();
  return product;
}

template <typename T>
app::Report check(Job& job, const Settings& settings, const Product<T>& product, std::uint64_t seed, bool stays) {
  const std::vector<T> a = app::in_rows(product.a);
  const std::vector<T> b = app::in_rows(product.b);
  const std::vector<T> c = app::in_rows(product.c);
  app::Report report;
  const std::string wrong =
      app::freivalds(a, b, c, settings.size, seed, settings.rounds, settings.parts ? kStrassenError : 1);
  if (!wrong.empty()) job.fail(wrong);
  // Strassen's sums are other ones than the plain product's, so of doubles their bits are not.
  const bool full = settings.size <= settings.full_check && !(settings.parts && settings.element == "double");
  if (full) {
    const double start = app::now_seconds();
    const std::vector<T> expected = app::multiply_plainly(a, b, settings.size);
    report.reference_seconds = app::now_seconds() - start;
    for (std::size_t i = 0; i < c.size(); ++i) {
      // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): bit by bit
      if (std::memcmp(&c[i], &expected[i], sizeof(T)) == 0) continue;
      job.fail(fmt::format("element ({}, {}) is {} instead of {}.", i / settings.size, i % settings.size, c[i],
                           expected[i]));
      break;
    }
  }
  app::Checksum checksum;
  for (const T& value : c) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    checksum.add(bits);
  }
  report.checksum = checksum.value();
  report.parameters = {{"size", settings.size},
                       {"element", settings.element},
                       {"hints", settings.hints},
                       {"algorithm", settings.parts ? "strassen" : "blocked"}};
  report.least_bytes = least_bytes(job, settings, product, stays);
  report.results["check"] = fmt::format("Freivalds, {} random vectors{}", settings.rounds,
                                        full ? ", and every element beside the plain product" : "");
  return report;
}

template <typename T, typename Tiles>
int run_mode(const Settings& settings, const app::Options& options) {
  Job job{"app_matmul", options};
  const Product<T>& product = *make_product<T>(job, settings, options.seed);
  Tiles tiles{job, product, settings};
  job.measure("operations", [&](const app::Worker& worker) {
    return settings.parts ? compute_leaves(job, product, tiles, worker) : compute(job, product, tiles, worker);
  });
  tiles.hand_over();
  job.sync_nodes();
  app::Report report;
  if (job.node() == 0) {
    tiles.collect();
    report = check(job, settings, product, options.seed, Tiles::kProductStays);
  }
  return job.finish(report);
}

template <typename T>
int run(const Settings& settings, const app::Options& options) {
  return app::in_mode<app::PlainTiles<T>, app::HintedTiles<T>, app::OwnedTiles<T>>(
      options.mode, [&]<typename Tiles>(std::type_identity<Tiles>) { return run_mode<T, Tiles>(settings, options); });
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{"Multiplies two random matrices that start on node 0, and checks the product."};
  app::Options options;
  Settings settings;
  cli.option("-n,--size", settings.size, "rows and columns").range(1, 32768).show_default();
  cli.option("--element", settings.element, "what the matrices hold").one_of({"double", "int32"}).show_default();
  cli.option("--full-check", settings.full_check, "up to this size every element is compared with a plain product")
      .show_default();
  cli.option("--rounds", settings.rounds, "random vectors of Freivalds' check").range(1, 1000).show_default();
  cli.flag("--strassen", settings.parts, "Strassen's product of 343 leaves, instead of the plain one in tiles");
  cli.flag("--hints,!--no-hints", settings.hints, "page mode: prefetch and release (on unless --no-hints)");
  app::add_modes(cli, options);
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;
  return settings.element == "double" ? run<double>(settings, options) : run<std::uint32_t>(settings, options);
}
