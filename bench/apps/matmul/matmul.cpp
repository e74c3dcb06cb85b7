// C = A * B by tiles. A, B and C start on node 0; each node computes a rectangle of C's tiles, so that with a grid of
// p * q nodes it needs 1/p of A and 1/q of B.
#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>
#include <memory>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "bench/apps/matmul/access.h"
#include "bench/apps/matmul/matrix.h"

namespace {

using app::Job;
using app::kTileElements;
using app::Matrix;
using app::Product;

struct Settings {
  std::size_t size = 1024;
  std::string element = "double";
  std::size_t full_check = 512;
  unsigned rounds = 20;
  bool hints = true;
};

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
    alignas(64) std::array<T, kTileElements> sum{};
    for (std::size_t k = 0; k < product.a.tiles; ++k) tiles.multiply(row, k, column, sum.data());
    tiles.store(row, column, sum.data());
    operations += 2 * kTileElements * app::kTile * product.a.tiles;
  }
  return operations;
}

// The matrices begin in node 0's memory: A and B random, C zero.
template <typename T>
Product<T>* make_product(Job& job, const Settings& settings, std::uint64_t seed) {
  auto* product = job.shared<Product<T>>(1);
  if (job.node() == 0) {
    const std::size_t tiles = Matrix<T>::tiles_for(settings.size);
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
app::Report check(Job& job, const Settings& settings, const Product<T>& product, std::uint64_t seed) {
  const std::vector<T> a = app::in_rows(product.a);
  const std::vector<T> b = app::in_rows(product.b);
  const std::vector<T> c = app::in_rows(product.c);
  app::Report report;
  const std::string wrong = app::freivalds(a, b, c, settings.size, seed, settings.rounds);
  if (!wrong.empty()) job.fail(wrong);
  const bool full = settings.size <= settings.full_check;
  if (full) {
    const double start = app::now_seconds();
    const std::vector<T> expected = app::multiply_plainly(a, b, settings.size);
    report.reference_seconds = app::now_seconds() - start;
    for (std::size_t i = 0; i < c.size(); ++i) {
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
  report.parameters = {{"size", settings.size}, {"element", settings.element}, {"hints", settings.hints}};
  report.results["check"] = fmt::format("Freivalds, {} random vectors{}", settings.rounds,
                                        full ? ", and every element beside the plain product" : "");
  return report;
}

template <typename T, typename Tiles>
int run_mode(const Settings& settings, const app::Options& options) {
  Job job{"app_matmul", options};
  const Product<T>& product = *make_product<T>(job, settings, options.seed);
  Tiles tiles{job, product, settings.hints};
  job.measure("operations", [&](const app::Worker& worker) { return compute(job, product, tiles, worker); });
  app::Report report;
  if (job.node() == 0) {
    tiles.collect();
    report = check(job, settings, product, options.seed);
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
  CLI::App cli{"Multiplies two random matrices that start on node 0, and checks the product."};
  app::Options options;
  Settings settings;
  cli.add_option("-n,--size", settings.size, "rows and columns")->check(CLI::Range(1, 32768))->capture_default_str();
  cli.add_option("--element", settings.element, "what the matrices hold")
      ->check(CLI::IsMember({"double", "int32"}))
      ->capture_default_str();
  cli.add_option("--full-check", settings.full_check, "up to this size every element is compared with a plain product")
      ->capture_default_str();
  cli.add_option("--rounds", settings.rounds, "random vectors of Freivalds' check")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  cli.add_flag("--hints,!--no-hints", settings.hints, "page mode: prefetch and release (on unless --no-hints)");
  app::add_modes(cli, options);
  app::add_options(cli, options);
  CLI11_PARSE(cli, argc, argv);
  return settings.element == "double" ? run<double>(settings, options) : run<std::uint32_t>(settings, options);
}
