// GAM's kvbench: gets and puts with zipf-distributed keys on one hash table with a lock a bucket, in four modes. Keys
// are shared by all nodes or partitioned between them.
#include <fmt/format.h>

#include <array>
#include <bit>
#include <span>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "bench/apps/kv/table.h"
#include "support/command_line.h"

namespace {

using app::Job;
using app::Mode;
using namespace app::kv;

struct Settings {
  std::uint64_t operations = 20000;  // a worker
  std::uint64_t keys = 98304;
  double theta = 0.99;
  unsigned gets = 90;  // per cent
  bool shared = true;
  unsigned batch = 32;
  unsigned answer_every = 32;
  std::string page_lock = "inplace";
};

struct Operation {
  std::uint64_t key;
  bool put;
};

// Key number i of the 6 * buckets there are: bucket i % buckets, and different for each.
std::uint64_t key_of(const Layout& layout, std::uint64_t number) {
  const int bits = std::countr_zero(layout.buckets);
  const std::uint64_t bucket = number & (layout.buckets - 1);
  return (app::mix(number + 1) << (11 + bits)) | (bucket << 11) | (number >> bits);
}

Bucket filled(const Layout& layout, std::uint64_t bucket) {
  Bucket made{};
  for (unsigned slot = 0; slot < kKeysPerBucket; ++slot) {
    made.keys[slot] = key_of(layout, slot * layout.buckets + bucket);
    made.values[slot] = value_of(made.keys[slot], 0, 0);
  }
  return made;
}

// The keys that a node uses, by popularity: those of all buckets or of its own, spread so that neighbours in popularity
// are no neighbours in memory.
class Popularity {
 public:
  Popularity(const Layout& layout, const Settings& settings, unsigned node)
      : layout_(layout),
        first_(settings.shared ? 0 : layout.begin(node)),
        buckets_(settings.shared ? layout.buckets : layout.begin(node + 1) - first_),
        zipf_(buckets_ * kKeysPerBucket, settings.theta) {}
  std::uint64_t pick(std::uint64_t random) const {
    constexpr std::uint64_t kPrime = 2654435761;  // prime to any number of buckets
    const std::uint64_t rank = zipf_.rank(app::unit(random));
    const std::uint64_t bucket = first_ + rank % buckets_ * kPrime % buckets_;
    return key_of(layout_, rank / buckets_ * layout_.buckets + bucket);
  }

 private:
  Layout layout_;
  std::uint64_t first_, buckets_;
  app::Zipf zipf_;
};

std::vector<Operation> operations_of(const Settings& settings, const Popularity& keys, std::uint64_t seed,
                                     unsigned worker) {
  std::vector<Operation> list(settings.operations);
  for (std::uint64_t i = 0; i < list.size(); ++i) {
    list[i].key = keys.pick(app::random_at(seed, 2 * worker, i));
    list[i].put = app::random_at(seed, 2 * worker + 1, i) % 100 >= settings.gets;
  }
  return list;
}

std::uint64_t delta_of(unsigned worker, std::uint64_t i) { return app::mix((std::uint64_t{worker} << 40) + i + 1); }

// The requests come in batches, as from clients that do not wait for each other: a batch's gets are served together,
// then its puts.
template <typename Table>
class Server {
 public:
  Server(Job& job, const Settings& settings, Table& table, unsigned worker)
      : job_(job), settings_(settings), table_(table), worker_(worker) {}

  std::uint64_t run(const std::vector<Operation>& operations) {
    for (std::uint64_t begin = 0; begin < operations.size(); begin += settings_.batch) {
      const std::uint64_t end = std::min<std::uint64_t>(begin + settings_.batch, operations.size());
      const double start = app::now_seconds();
      serve(operations, begin, end);
      job_.note_latency(worker_, app::now_seconds() - start);
      if (begin / settings_.batch % settings_.answer_every == 0) table_.finish();
    }
    table_.finish();
    return operations.size();
  }

 private:
  void serve(const std::vector<Operation>& operations, std::uint64_t begin, std::uint64_t end) {
    std::size_t gets = 0;
    for (std::uint64_t i = begin; i < end; ++i) {
      if (!operations[i].put) keys_[gets++] = operations[i].key;
    }
    const Keys keys = std::span(keys_).first(gets);
    if (!table_.get(keys, std::span(values_).first(gets))) job_.fail("a key is gone.");
    for (std::size_t i = 0; i < gets; ++i) {
      if (!values_[i].is_whole(keys_[i])) {
        job_.fail(
            fmt::format("a get of key {:x} saw what nobody put: {:x}.", keys_[i], fmt::join(values_[i].words, " ")));
      }
    }
    for (std::uint64_t i = begin; i < end; ++i) {
      const auto [key, put] = operations[i];
      if (put && !table_.add(key, delta_of(worker_, i))) job_.fail(fmt::format("key {:x} is gone.", key));
    }
  }

  Job& job_;
  const Settings& settings_;
  Table& table_;
  unsigned worker_;
  std::array<std::uint64_t, kMostAtOnce> keys_;
  std::array<Value, kMostAtOnce> values_;
};

// All puts done again by one thread: for each key their sum and their number.
std::vector<Bucket> run_plainly(const Job& job, const Settings& settings, const Layout& layout, std::uint64_t seed) {
  std::vector<Bucket> buckets(layout.buckets);
  for (std::uint64_t bucket = 0; bucket < layout.buckets; ++bucket) buckets[bucket] = filled(layout, bucket);
  for (unsigned node = 0; node < job.nodes(); ++node) {
    const Popularity keys{layout, settings, node};
    for (unsigned worker = node * job.threads(); worker < (node + 1) * job.threads(); ++worker) {
      const std::vector<Operation> operations = operations_of(settings, keys, seed, worker);
      for (std::uint64_t i = 0; i < operations.size(); ++i) {
        const std::uint64_t key = operations[i].key;
        if (operations[i].put) buckets[layout.of(key)].add(key, delta_of(worker, i));
      }
    }
  }
  return buckets;
}

template <typename Table>
app::Report check(Job& job, const Settings& settings, const Layout& layout, std::uint64_t seed, Table& table) {
  const std::vector<Bucket> expected = run_plainly(job, settings, layout, seed);
  app::Checksum checksum;
  std::uint64_t puts = 0;
  for (std::uint64_t number = 0; number < layout.buckets; ++number) {
    const Bucket bucket = table.peek(number);
    for (unsigned slot = 0; slot < kKeysPerBucket; ++slot) {
      const Value& value = bucket.values[slot];
      const Value& right = expected[number].values[slot];
      if (bucket.keys[slot] != expected[number].keys[slot] || value.words != right.words) {
        job.fail(fmt::format("key {:x} holds {:x} instead of {:x}.", bucket.keys[slot], fmt::join(value.words, " "),
                             fmt::join(right.words, " ")));
      }
      checksum.add(value.words[0] ^ bucket.keys[slot]);
      puts += value.words[2];
    }
  }
  app::Report report;
  report.checksum = checksum.value();
  report.parameters = {{"operations_per_worker", settings.operations},
                       {"keys", layout.buckets * kKeysPerBucket},
                       {"buckets", layout.buckets},
                       {"theta", settings.theta},
                       {"gets_per_cent", settings.gets},
                       {"shared", settings.shared},
                       {"batch", settings.batch}};
  report.results = {{"puts", puts}};
  return report;
}

template <typename Table>
int run_mode(const Settings& settings, const app::Options& options) {
  Job job{"app_kv", options};
  const Layout layout{std::bit_ceil((settings.keys + kKeysPerBucket - 1) / kKeysPerBucket), job.nodes()};
  if (layout.begin(layout.nodes - 1) == layout.buckets) job.die("there are fewer buckets than nodes; take more keys.");
  std::vector<std::vector<Operation>> mine;
  for (unsigned node = 0; node < job.nodes(); ++node) {
    if (!job.is_own(node)) continue;
    const Popularity keys{layout, settings, node};
    for (unsigned thread = 0; thread < job.threads(); ++thread) {
      mine.push_back(operations_of(settings, keys, options.seed, node * job.threads() + thread));
    }
  }
  Table table{job, layout, filled};
  job.measure("operations", [&](const app::Worker& worker) {
    return Server<Table>{job, settings, table, worker.index}.run(mine[worker.thread]);
  });
  app::Report report;
  if (job.node() == 0) report = check(job, settings, layout, options.seed, table);
  return job.finish(report);
}

void add_settings(dsm::support::CommandLine& cli, Settings& settings) {
  cli.option("-n,--operations", settings.operations, "operations of each worker")
      .range(std::uint64_t{1}, std::uint64_t{1} << 32)
      .show_default();
  cli.option("--keys", settings.keys, "keys, 6 a bucket; rounded up to 6 times a power of two")
      .range(std::uint64_t{6}, std::uint64_t{1} << 24)
      .show_default();
  cli.option("--theta", settings.theta, "skew of the zipf distribution; 0 for uniform keys")
      .range(0.0, 10.0)
      .show_default();
  cli.option("--get", settings.gets, "per cent of the operations that are gets; the rest are puts")
      .range(0, 100)
      .show_default();
  cli.option("--batch", settings.batch, "requests that come together")
      .range(std::size_t{1}, kMostAtOnce)
      .show_default();
  cli.option("--answer-every", settings.answer_every, "owned mode: batches after which puts are answered")
      .range(1, 1 << 20)
      .show_default();
  cli.flag("--shared,!--partitioned", settings.shared, "whether all nodes use all keys (default) or each its own");
  cli.option("--page-lock", settings.page_lock,
             "page mode: a lock in the bucket itself; that, with a page a bucket; or a dsm::mutex")
      .one_of({"inplace", "padded", "mutex"})
      .show_default();
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{
      "All nodes get and put in one hash table; what is in it in the end is checked key by key."};
  app::Options options;
  Settings settings;
  add_settings(cli, settings);
  app::add_modes(cli, options);
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;
  switch (options.mode) {
    case Mode::kNative:
      return run_mode<LockedTable<std::mutex>>(settings, options);
    case Mode::kPage:
      if (settings.page_lock == "mutex") return run_mode<LockedTable<dsm::mutex>>(settings, options);
      if (settings.page_lock == "padded") return run_mode<InPlaceTable<PageBucket>>(settings, options);
      return run_mode<InPlaceTable<Bucket>>(settings, options);
    case Mode::kHinted:
      return run_mode<HintedTable>(settings, options);
    case Mode::kOwned:
      return run_mode<OwnedTable>(settings, options);
    case Mode::kMessage:
      break;
  }
  return 1;
}
