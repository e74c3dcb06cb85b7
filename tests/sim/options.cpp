#include "tests/sim/options.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/types.h"
#include "tests/sim/random.h"

namespace dsm::sim {
namespace {

constexpr std::array<const char*, static_cast<std::size_t>(Mutation::kCount)> kMutationNames = {"none",
                                                                                                "skip-unmap",
                                                                                                "skip-lower",
                                                                                                "skip-write-back",
                                                                                                "late-write-back",
                                                                                                "stale-read",
                                                                                                "read-before-swap",
                                                                                                "read-before-latch",
                                                                                                "map-early",
                                                                                                "split-swap",
                                                                                                "blind-swap",
                                                                                                "ignore-waiters",
                                                                                                "unfair-choice",
                                                                                                "enlist-late",
                                                                                                "stay-enlisted",
                                                                                                "lose-look",
                                                                                                "lose-drop",
                                                                                                "lose-nudge",
                                                                                                "lose-wake",
                                                                                                "use-early",
                                                                                                "object-skip-mark",
                                                                                                "object-late-bytes",
                                                                                                "object-no-version",
                                                                                                "object-blind-swap",
                                                                                                "object-skip-validate",
                                                                                                "object-early-read",
                                                                                                "object-lose-freed",
                                                                                                "object-lose-grant",
                                                                                                "object-lose-recall",
                                                                                                "object-keep-copies",
                                                                                                "object-keep-standing",
                                                                                                "object-early-leave",
                                                                                                "object-own-raw",
                                                                                                "object-no-nesting",
                                                                                                "queue-forgets",
                                                                                                "ring-loses",
                                                                                                "ring-forgets",
                                                                                                "ring-waits",
                                                                                                "lose-notice",
                                                                                                "cut-early",
                                                                                                "cut-anyway",
                                                                                                "life-untold",
                                                                                                "life-breaks-lock",
                                                                                                "life-colour-anew",
                                                                                                "life-holds-queue"};

constexpr unsigned kMaxAccesses = 600;  // of all threads together: keeps a run at a few milliseconds

void choose_size(Random& random, Options& options) {
  const unsigned dice = random.below(100);
  options.nodes = dice < 70 ? random.between(2, 4) : dice < 95 ? random.between(5, 8) : random.between(9, 16);
  options.pages = random.percent(60) ? 1 : random.percent(60) ? random.between(2, 3) : random.between(4, 8);
  options.threads = random.percent(50) ? 1 : random.between(2, 3);
  options.ops = std::min(random.between(3, 40), kMaxAccesses / (options.nodes * options.threads));
  options.latch_only = random.percent(40) ? random.between(10, 100) : 0;
  options.locks = random.percent(50);
}

void choose_schedule(Random& random, Options& options) {
  options.policy = static_cast<Policy>(random.below(3));
  options.changes = random.below(12);
  options.quantum = random.between(1, 8);
  options.lazy = random.percent(40) ? random.between(50, 98) : 0;
  options.cut_percent = random.percent(50) ? random.between(1, 99) : 100;
  options.serial = random.percent(40);
  options.fine = random.percent(50);
  options.split_latch = random.percent(30);
  options.duplicates = random.percent(40);
  options.strays = random.percent(20);
  options.early_use = random.percent(25);
}

void choose_mix(Random& random, Options& options) {
  Options::Weights& weights = options.weights;
  weights.read = random.between(0, 12);
  weights.write = random.between(0, 6);
  weights.modify = random.between(1, 6);
  if (random.percent(40)) weights.prefetch = random.between(1, 4);
  if (random.percent(20)) weights.keep_reading = random.between(1, 4);
  if (random.percent(40)) weights.release = random.between(1, 4);
  if (random.percent(30)) weights.transfer = random.between(1, 4);
}

// Few nodes with many threads that hint more than they access: what one thread gains, another gives away.
void choose_storm(Random& random, Options& options) {
  options.nodes = random.between(2, 3);
  options.pages = 1;
  options.threads = 3;
  options.ops = random.between(10, 40);
  options.weights = {.read = 4, .write = 1, .modify = 1, .prefetch = 8, .keep_reading = 1, .release = 4, .transfer = 1};
}

// What came later is drawn apart, so that the rest of a seed is as it was.
void choose_troubles(std::uint64_t seed, Options& options) {
  Random random(seed * 0x9e3779b97f4a7c15 + 7);
  if (random.percent(15)) {
    options.policy = Policy::kDelays;
    options.changes = random.between(1, 40);
  }
  if (random.percent(15)) options.slow_nodes = random.between(20, 60);
  if (random.percent(15)) options.slow_links = random.between(10, 60);
  if (random.percent(10)) options.crash = random.between(1, 100);
  if (random.percent(10)) {  // memory is short: pages are put out at any time
    options.pages = std::max(options.pages, 3u);
    options.weights.release += options.weights.read + options.weights.modify + 4;
  }
}

// And what came after that.
void choose_limits(std::uint64_t seed, Options& options) {
  Random random(seed * 0xd1342543de82ef95 + 13);
  if (random.percent(25)) options.ring = random.between(1, 3);
  options.late_answers = random.percent(50);
  options.deaf = random.percent(50);
  if (random.percent(5)) {
    options.crash = random.between(1, 100);
    options.ring = 1;
    options.deaf = true;
  }
  options.memory_dies = random.percent(30);
  if (random.percent(20)) {
    options.pages = std::max(options.pages, options.threads + 3);
    options.room = random.between(options.threads + 1, options.pages - 1);
  }
}

// And after that. Copies outlive their object only while its page is used for borrows, so there are few other accesses.
void choose_lives(std::uint64_t seed, Options& options) {
  Random random(seed * 0x94d049bb133111eb + 17);
  if (options.crash != 0 || !random.percent(25)) return;
  options.lives = random.between(5, 50);
  options.one_header = random.percent(20);
  options.latch_only = 0;
  options.pages = std::max(random.below(3), options.room != 0 ? options.room + 1 : 1);
  options.ops = std::max(options.ops, std::min(20u, kMaxAccesses / (options.nodes * options.threads)));
  Options::Weights& weights = options.weights;
  weights.borrow = random.between(8, 40);
  weights.fresh = 0;
  weights.transfer = random.percent(70) ? 1 : 0;
  for (unsigned Options::Weights::*other :
       {&Options::Weights::read, &Options::Weights::write, &Options::Weights::modify, &Options::Weights::prefetch,
        &Options::Weights::keep_reading, &Options::Weights::release}) {
    weights.*other = std::min(weights.*other, random.below(2));
  }
}

// And after that.
void choose_cleaning(std::uint64_t seed, Options& options) {
  Random random(seed * 0xbf58476d1ce4e5b9 + 19);
  if (random.percent(25)) options.weights.clean = random.between(1, 6);
}

// And after that, one node whose threads touch plainly what lies beside the object that they have borrowed. Two such
// nodes could wait for each other for ever.
void choose_inside(std::uint64_t seed, Options& options) {
  Random random(seed * 0x9fb21c651e98df25 + 23);
  if (options.crash != 0 || options.room != 0 || options.lives != 0 || !random.percent(20)) return;
  options.inside = random.between(20, 100);
  options.weights.borrow = std::max(options.weights.borrow, random.between(2, 12));
  options.latch_only = 0;
}

// And after that, threads that ask ahead of what they need: not where memory is bounded (Pages::read_ahead).
void choose_ahead(std::uint64_t seed, Options& options) {
  Random random(seed * 0xa0761d6478bd642f + 29);
  if (options.room == 0 && random.percent(40)) options.weights.ahead = random.between(1, 8);
}

// And last: who dies has freed something, or was to forget it.
void choose_death_among_lives(std::uint64_t seed, Options& options) {
  Random random(seed * 0xff51afd7ed558ccd + 23);
  if (options.lives == 0 || !random.percent(40)) return;
  options.crash = random.between(1, 100);
  options.deaf = random.percent(70);
}

void append(std::string& line, const char* option, std::optional<unsigned> value) {
  if (value) line += fmt::format(" --{} {}", option, *value);
}

}  // namespace

// Any change here changes what every seed means: the list of seeds in sim_test.cpp then has to be made anew.
Options options_of(std::uint64_t seed) {
  Options options;
  options.seed = seed;
  Random random(seed * 0x2545f4914f6cdd1d + 1);  // apart from the run's own chance
  choose_size(random, options);
  choose_schedule(random, options);
  choose_mix(random, options);
  if (random.percent(8)) choose_storm(random, options);
  if (random.percent(40)) options.weights.borrow = random.between(1, 12);
  options.small_objects = random.percent(50);
  if (random.percent(25)) options.weights.fresh = random.between(1, 6);
  const bool nests = options.pages > 1 && options.threads > 1 && options.weights.borrow != 0 && random.percent(50);
  if (nests) options.nested = random.between(10, 60);
  return options;
}

const std::vector<Feature>& features() {
  static const std::vector<Feature> all = {
      {"crash", [](Options& options) { options.crash = 0; }},
      {"room", [](Options& options) { options.room = 0; }},
      {"ring", [](Options& options) { options.ring = 0; }},
      {"inside", [](Options& options) { options.inside = 0; }},
      {"nested", [](Options& options) { options.nested = 0; }},
      {"strays", [](Options& options) { options.strays = false; }},
      {"duplicates", [](Options& options) { options.duplicates = false; }},
      {"slow", [](Options& options) { options.slow_nodes = options.slow_links = options.lazy = 0; }},
      {"fine", [](Options& options) { options.fine = false; }},
      {"split-latch", [](Options& options) { options.split_latch = false; }},
      {"early-use", [](Options& options) { options.early_use = false; }},
      {"late-answers", [](Options& options) { options.late_answers = false; }},
      {"lives", [](Options& options) { options.lives = 0, options.one_header = false; }},
      {"locks", [](Options& options) { options.locks = false, options.latch_only = 0; }},
      {"transfer", [](Options& options) { options.weights.transfer = 0; }},
      {"release", [](Options& options) { options.weights.release = options.weights.keep_reading = 0; }},
      {"clean", [](Options& options) { options.weights.clean = 0; }},
      {"fresh", [](Options& options) { options.weights.fresh = 0; }},
      {"prefetch", [](Options& options) { options.weights.prefetch = 0; }},
      {"ahead", [](Options& options) { options.weights.ahead = 0; }},
      {"borrow", [](Options& options) { options.weights.borrow = options.nested = options.inside = 0; }},
      {"raw", [](Options& options) { options.weights.read = options.weights.write = options.weights.modify = 0; }},
  };
  return all;
}

Options options_of(std::uint64_t seed, const Overrides& overrides) {
  Options options = options_of(seed);
  if (!overrides.plain) {
    choose_troubles(seed, options);
    choose_limits(seed, options);
    choose_lives(seed, options);
    choose_cleaning(seed, options);
    choose_inside(seed, options);
    choose_ahead(seed, options);
    choose_death_among_lives(seed, options);
  }
  options.nodes = overrides.nodes.value_or(options.nodes);
  options.pages = overrides.pages.value_or(options.pages);
  options.threads = overrides.threads.value_or(options.threads);
  options.ops = overrides.ops.value_or(options.ops);
  options.weights.borrow = overrides.borrow.value_or(options.weights.borrow);
  options.mutation = overrides.mutation;
  if (overrides.chance != 0) options.seed = Random(seed + overrides.chance * 0x2545f4914f6cdd1d).next();
  for (const std::string& name : overrides.without) {
    for (const Feature& feature : features()) {
      if (name == feature.name) feature.leave_out(options);
    }
  }
  if (options.weight_sum() == 0) options.weights.read = 1;
  if (options.room != 0) options.room = std::max(options.room, options.threads + 1);
  if (options.pages < 2 || options.weights.borrow == 0) options.nested = 0;
  return options;
}

std::string describe(const Options& options) {
  const Options::Weights& w = options.weights;
  return fmt::format(
      "{} nodes, {} pages ({}% latch-only), {} threads a node, {} ops a thread; schedule {} (changes {}, quantum {}, "
      "lazy {}%), "
      "cut {}%; read:write:modify:borrow:prefetch:fresh:keep-reading:release:transfer:clean:ahead "
      "{}:{}:{}:{}:{}:{}:{}:{}:{}:{}:{};{}{}{}{}{}{}{}{}{}{}{}{} slow nodes {}%, slow links {}%, room for {}, ring of "
      "{}, "
      "crash "
      "at "
      "{}%{}{}, mutation {}",
      options.nodes, options.pages, options.latch_only, options.threads, options.ops, name_of(options.policy),
      options.changes, options.quantum, options.lazy, options.cut_percent, w.read, w.write, w.modify, w.borrow,
      w.prefetch, w.fresh, w.keep_reading, w.release, w.transfer, w.clean, w.ahead,
      options.small_objects ? " small-objects" : "", options.locks ? " locks" : "", options.serial ? " serial" : "",
      options.fine ? " fine" : "", options.split_latch ? " split-latch" : "", options.duplicates ? " duplicates" : "",
      options.strays ? " strays" : "", options.early_use ? " early-use" : "",
      options.late_answers ? " late-answers" : "",
      options.inside != 0 ? fmt::format(" inside {}%", options.inside) : "",
      options.nested != 0 ? fmt::format(" nested {}%", options.nested) : "",
      options.lives != 0 ? fmt::format(" lives {}%{}", options.lives, options.one_header ? " of one header" : "") : "",
      options.slow_nodes, options.slow_links, options.room, options.ring, options.crash,
      options.deaf ? " (heard of late)" : "", options.memory_dies ? " (with its memory)" : "",
      name_of(options.mutation));
}

std::string command_line(std::uint64_t seed, const Overrides& overrides) {
  std::string line = fmt::format("--seed {}", seed);
  if (overrides.plain) line += " --plain";
  append(line, "nodes", overrides.nodes);
  append(line, "pages", overrides.pages);
  append(line, "threads", overrides.threads);
  append(line, "ops", overrides.ops);
  append(line, "borrow", overrides.borrow);
  for (std::size_t i = 0; i < overrides.without.size(); ++i) {
    line += (i == 0 ? " --without " : ",") + overrides.without[i];
  }
  if (overrides.chance != 0) line += fmt::format(" --chance {}", overrides.chance);
  if (overrides.mutation != Mutation::kNone) line += fmt::format(" --mutation {}", name_of(overrides.mutation));
  return line;
}

const char* name_of(Policy policy) {
  switch (policy) {
    case Policy::kUniform:
      return "uniform";
    case Policy::kPriorities:
      return "priorities";
    case Policy::kRoundRobin:
      return "round-robin";
    case Policy::kDelays:
      return "delays";
  }
  return "?";
}

const char* name_of(Mutation mutation) { return kMutationNames[static_cast<std::size_t>(mutation)]; }

std::optional<Mutation> mutation_named(std::string_view name) {
  for (std::size_t i = 0; i < kMutationNames.size(); ++i) {
    if (name == kMutationNames[i]) return static_cast<Mutation>(i);
  }
  return std::nullopt;
}

}  // namespace dsm::sim
