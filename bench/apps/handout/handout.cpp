// Memory that another node uses: node 0 allocates work areas and hands them to the last node, whose workers fill and
// read them. Node 0 never touches them, but they are its memory, and every page of them is fetched from it.
#include <dsm/dsm.h>
#include <fmt/core.h>

#include <atomic>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "support/command_line.h"

namespace {

using app::Job;

struct Settings {
  std::uint64_t areas = 64;
  std::uint64_t words = std::uint64_t{1} << 17;  // of each: 1 MiB
};

struct Board {
  std::uint64_t sum;  // of all areas, by the workers that read them
  std::uint64_t* area[];
};

// Node 0 allocates; the others see the pointers.
Board* hand_out(Job& job, const Settings& settings) {
  auto* const board = reinterpret_cast<Board*>(job.shared<std::uint64_t>(1 + settings.areas));
  for (std::uint64_t i = 0; job.node() == 0 && i < settings.areas; ++i) {
    board->area[i] = job.pages<std::uint64_t>(settings.words);
  }
  job.sync_nodes();
  return board;
}

std::uint64_t fill(std::uint64_t* area, std::uint64_t number, std::uint64_t words) {
  for (std::uint64_t i = 0; i < words; ++i) area[i] = app::mix(number + i);
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < words; ++i) sum += area[i];
  return sum;
}

std::uint64_t expected_sum(const Settings& settings) {
  std::uint64_t sum = 0;
  for (std::uint64_t number = 0; number < settings.areas; ++number) {
    for (std::uint64_t i = 0; i < settings.words; ++i) sum += app::mix(number + i);
  }
  return sum;
}

int run(const Settings& settings, const app::Options& options) {
  Job job{"app_handout", options};
  Board* const board = hand_out(job, settings);
  job.measure("words", [&](const app::Worker& worker) -> std::uint64_t {
    if (job.node() + 1 != job.nodes()) return 0;
    std::uint64_t sum = 0, done = 0;
    for (std::uint64_t i = worker.thread; i < settings.areas; i += job.threads(), done += settings.words) {
      sum += fill(board->area[i], i, settings.words);
    }
    std::atomic_ref(board->sum).fetch_add(sum);
    return done;
  });
  app::Report report;
  report.checksum = board->sum;
  report.parameters = {{"areas", settings.areas}, {"words", settings.words}};
  if (job.node() == 0 && board->sum != expected_sum(settings)) {
    job.fail(fmt::format("the areas sum up to {:x} instead of {:x}.", board->sum, expected_sum(settings)));
  }
  return job.finish(report);
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{
      "Node 0 allocates memory for the last node, which fills and reads it; the sum is checked."};
  app::Options options;
  Settings settings;
  cli.option("--areas", settings.areas, "work areas").range(1, 1 << 20).show_default();
  cli.option("--words", settings.words, "words of each").range(1, 1 << 28).show_default();
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;
  return run(settings, options);
}
