// Gets, puts and increments on one hash map by all nodes, with zipf-distributed keys: the honest case of a shared
// store, where everyone wants the same few keys.
#include <fmt/format.h>

#include <bit>
#include <unordered_map>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "bench/apps/hashmap/map.h"
#include "support/command_line.h"

namespace {

using app::Job;
using app::Map;
using app::Payload;

struct Settings {
  std::uint64_t operations = 5000;  // a worker
  std::uint64_t buckets = 4096;
  std::uint64_t keys_per_bucket = 6;
  double theta = 0.99;
  unsigned gets = 50;  // per cent; half of the rest are puts, half increments
};

enum class Kind : std::uint8_t { kGet, kPut, kIncrement };

struct Operation {
  std::uint64_t key;
  Kind kind;
};

// Spreads ranks over the key space, so that neighbours in popularity are no neighbours in the map.
std::uint64_t key_of(std::size_t rank) { return app::mix(rank + 1); }

std::vector<Operation> operations_of(const Settings& settings, const app::Zipf& zipf, std::uint64_t seed,
                                     unsigned worker) {
  std::vector<Operation> list(settings.operations);
  for (std::uint64_t i = 0; i < list.size(); ++i) {
    list[i].key = key_of(zipf.rank(app::unit(app::random_at(seed, 2 * worker, i))));
    const std::uint64_t dice = app::random_at(seed, 2 * worker + 1, i);
    const bool get = dice % 100 < settings.gets;
    list[i].kind = get ? Kind::kGet : (dice >> 32) % 2 == 0 ? Kind::kPut : Kind::kIncrement;
  }
  return list;
}

// A payload says who wrote it, and its words belong together: a mixture of two puts is none.
Payload payload_of(std::uint64_t key, unsigned worker, std::uint64_t i) {
  const std::uint64_t stamp = (std::uint64_t{worker} << 40) | (i + 1);
  return {stamp, app::mix(stamp ^ key), app::mix(stamp + key), ~stamp};
}

bool is_payload(const Payload& payload, std::uint64_t key) {
  const auto worker = static_cast<unsigned>(payload[0] >> 40);
  const std::uint64_t i = (payload[0] & ((std::uint64_t{1} << 40) - 1)) - 1;
  return payload == payload_of(key, worker, i);
}

std::uint64_t run(Job& job, Map& map, const std::vector<Operation>& operations, unsigned worker) {
  for (std::uint64_t i = 0; i < operations.size(); ++i) {
    const auto [key, kind] = operations[i];
    bool room = true;
    Payload payload{};
    switch (kind) {
      case Kind::kGet:
        if (map.get(key, payload) && !is_payload(payload, key)) {
          job.fail(fmt::format("a get of key {:x} saw a value that nobody put: {:x}.", key, fmt::join(payload, " ")));
        }
        break;
      case Kind::kPut:
        room = map.put(key, payload_of(key, worker, i));
        break;
      case Kind::kIncrement:
        room = map.increment(key);
        break;
    }
    if (!room) job.die("global memory is used up. Take fewer keys or a larger heap.");
  }
  return operations.size();
}

struct Expected {
  std::uint64_t count = 0;
  std::uint64_t writes = 0;
};
using PlainMap = std::unordered_map<std::uint64_t, Expected>;

// What all workers did, done again by one thread. Increments and puts commute as far as they are counted.
PlainMap run_plainly(const std::vector<std::vector<Operation>>& all) {
  PlainMap map;
  for (const auto& operations : all) {
    for (const auto& [key, kind] : operations) {
      switch (kind) {
        case Kind::kGet:
          static_cast<void>(map.find(key));
          break;
        case Kind::kPut:
          ++map[key].writes;
          break;
        case Kind::kIncrement:
          ++map[key].count;
          break;
      }
    }
  }
  return map;
}

// The last put of a key must be one that its worker was told to make.
bool was_put(const std::vector<std::vector<Operation>>& all, const app::Entry& entry) {
  if (entry.writes == 0) return entry.payload == Payload{};
  const std::uint64_t worker = entry.payload[0] >> 40;
  const std::uint64_t i = (entry.payload[0] & ((std::uint64_t{1} << 40) - 1)) - 1;
  if (!is_payload(entry.payload, entry.key) || worker >= all.size() || i >= all[worker].size()) return false;
  return all[worker][i].key == entry.key && all[worker][i].kind == Kind::kPut;
}

// Compares the map with the plain one; the checksum is of the keys and counts in any order.
app::Report check(Job& job, const Settings& settings, const app::Zipf& zipf, std::uint64_t seed, const Map& map) {
  std::vector<std::vector<Operation>> all;
  for (unsigned worker = 0; worker < job.workers(); ++worker) {
    all.push_back(operations_of(settings, zipf, seed, worker));
  }
  app::Report report;
  const double start = app::now_seconds();
  PlainMap expected = run_plainly(all);
  report.reference_seconds = app::now_seconds() - start;
  const std::size_t keys = expected.size();
  std::uint64_t increments = 0;
  std::uint64_t puts = 0;
  map.for_each([&](const app::Entry& entry) {
    const auto found = expected.find(entry.key);
    if (found == expected.end()) return job.fail(fmt::format("key {:x} is there twice or was never put.", entry.key));
    if (entry.count != found->second.count || entry.writes != found->second.writes) {
      job.fail(fmt::format("key {:x} was incremented {} and put {} times instead of {} and {}.", entry.key, entry.count,
                           entry.writes, found->second.count, found->second.writes));
    }
    if (!was_put(all, entry)) job.fail(fmt::format("key {:x} has a value that nobody put.", entry.key));
    increments += entry.count;
    puts += entry.writes;
    report.checksum += app::mix(app::mix(entry.key) ^ entry.count) + app::mix(entry.writes);
    expected.erase(found);
  });
  if (!expected.empty())
    job.fail(fmt::format("{} keys are missing, {:x} is one.", expected.size(), expected.begin()->first));
  report.parameters = {{"operations_per_worker", settings.operations},
                       {"buckets", settings.buckets},
                       {"keys", settings.buckets * settings.keys_per_bucket},
                       {"theta", settings.theta},
                       {"gets_per_cent", settings.gets}};
  report.results = {{"keys used", keys}, {"increments", increments}, {"puts", puts}};
  return report;
}

void add_settings(dsm::support::CommandLine& cli, Settings& settings) {
  cli.option("-n,--operations", settings.operations, "operations of each worker")
      .range(std::uint64_t{1}, std::uint64_t{1} << 32)
      .show_default();
  cli.option("--buckets", settings.buckets, "buckets, each with a lock; a power of two")
      .range(std::uint64_t{1}, std::uint64_t{1} << 19)
      .power_of_two()
      .show_default();
  cli.option("--keys-per-bucket", settings.keys_per_bucket, "keys there are, for each bucket")
      .range(1, 1024)
      .show_default();
  cli.option("--theta", settings.theta, "skew of the zipf distribution; 0 for uniform keys")
      .range(0.0, 10.0)
      .show_default();
  cli.option("--gets", settings.gets, "per cent of the operations that are gets; puts and increments share the rest")
      .range(0, 100)
      .show_default();
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{
      "All nodes get, put and increment in one hash map; what is in it in the end is checked key by key."};
  app::Options options;
  Settings settings;
  add_settings(cli, settings);
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;

  Job job{"app_hashmap", options};
  const app::Zipf zipf{settings.buckets * settings.keys_per_bucket, settings.theta};
  std::vector<std::vector<Operation>> mine;
  for (unsigned thread = 0; thread < job.threads(); ++thread) {
    mine.push_back(operations_of(settings, zipf, options.seed, job.node() * job.threads() + thread));
  }
  Map map{job, settings.buckets};
  job.measure("operations",
              [&](const app::Worker& worker) { return run(job, map, mine[worker.thread], worker.index); });
  app::Report report;
  if (job.node() == 0) report = check(job, settings, zipf, options.seed, map);
  return job.finish(report);
}
