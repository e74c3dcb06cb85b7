// Parallel sample sort of 64-bit keys. Every worker begins with an equal share of the keys in its node's memory; the
// result is one sorted array in global memory.
//
//   1. Each worker sorts its share in place and writes down a sample of it.
//   2. All read all samples and so agree on where the sorted array is cut into one piece a worker.
//   3. Each worker merges its piece, which is one run from every worker's share, into the result.
#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "support/command_line.h"

namespace {

using app::Job;
using Key = std::uint64_t;

struct Settings {
  std::uint64_t keys = 1 << 20;
  std::uint64_t distinct = 0;  // 0: all 64 bits
  std::uint64_t full_check = 1 << 22;
  bool hints = true;
};

// The same for every order of the keys, different for other multisets of as many keys (sums of hashes do collide, but
// not by accident).
struct Fingerprint {
  std::uint64_t sum = 0;
  std::uint64_t exclusive_or = 0;
  std::uint64_t hashes = 0;

  void add(Key key) {
    sum += key;
    exclusive_or ^= key;
    hashes += app::mix(key);
  }
  bool operator==(const Fingerprint&) const = default;
};

inline constexpr std::size_t kSamplesPerPiece = 16;

struct Share {
  Key* keys;
  std::uint64_t count;
  Key* sample;  // samples_per_worker of them, sorted
};

struct Sort {
  std::uint64_t samples_per_worker;
  Share* shares;  // one a worker
  Key* result;
};

Key input_key(const Settings& settings, std::uint64_t seed, std::uint64_t i) {
  const Key key = app::random_at(seed, 1, i);
  return settings.distinct == 0 ? key : key % settings.distinct;
}

// What `worker` begins with is input keys [first_key(worker), first_key(worker + 1)).
std::uint64_t first_key(const Settings& settings, unsigned worker, unsigned workers) {
  return settings.keys / workers * worker + std::min<std::uint64_t>(worker, settings.keys % workers);
}

// Each node makes the shares of its workers in its own memory.
Sort make_sort(Job& job, const Settings& settings, std::uint64_t seed) {
  Sort sort{job.workers() * kSamplesPerPiece, job.shared<Share>(job.workers()), job.shared<Key>(settings.keys)};
  for (unsigned thread = 0; thread < job.threads(); ++thread) {
    const unsigned worker = job.node() * job.threads() + thread;
    const std::uint64_t first = first_key(settings, worker, job.workers());
    const std::uint64_t count = first_key(settings, worker + 1, job.workers()) - first;
    Share share{job.pages<Key>(count), count, job.pages<Key>(sort.samples_per_worker)};
    for (std::uint64_t i = 0; i < count; ++i) share.keys[i] = input_key(settings, seed, first + i);
    sort.shares[worker] = share;
  }
  job.sync_nodes();
  return sort;
}

// One worker's three steps.
class Sorter {
 public:
  Sorter(Job& job, const Sort& sort, unsigned worker, bool hints)
      : job_(job), sort_(sort), worker_(worker), hints_(hints) {}

  std::uint64_t run() {
    sort_share();
    job_.sync_workers();
    choose_cuts();
    return merge_piece();
  }

 private:
  void sort_share() const {
    const Share& own = sort_.shares[worker_];
    std::sort(own.keys, own.keys + own.count);
    const std::uint64_t samples = sort_.samples_per_worker;
    for (std::uint64_t i = 0; i < samples; ++i) {
      own.sample[i] = own.count == 0 ? ~Key{0} : own.keys[own.count * i / samples];
    }
    if (!hints_) return;  // all of it is going to be read by others
    dsm::release(own.keys, own.count * sizeof(Key));
    dsm::release(own.sample, samples * sizeof(Key));
  }

  // cuts_[p] is the least key of piece p.
  void choose_cuts() {
    std::vector<Key> samples;
    for (unsigned worker = 0; worker < job_.workers(); ++worker) {
      const Key* sample = sort_.shares[worker].sample;
      samples.insert(samples.end(), sample, sample + sort_.samples_per_worker);
    }
    std::sort(samples.begin(), samples.end());
    cuts_.push_back(0);
    for (unsigned piece = 1; piece < job_.workers(); ++piece) {
      cuts_.push_back(samples[samples.size() / job_.workers() * piece]);
    }
  }

  // Where piece p begins in a share. Piece 0 begins with the first key and the last one ends with the last key.
  std::uint64_t begin_of(unsigned piece, const Share& share) const {
    if (piece == 0) return 0;
    if (piece == job_.workers()) return share.count;
    return static_cast<std::uint64_t>(std::lower_bound(share.keys, share.keys + share.count, cuts_[piece]) -
                                      share.keys);
  }

  std::uint64_t merge_piece() const {
    std::vector<Key> piece;
    std::vector<std::size_t> ends{0};  // of the runs in `piece`
    std::uint64_t place = 0;           // of the piece in the result
    for (unsigned i = 0; i < job_.workers(); ++i) {
      const Share& share = sort_.shares[(worker_ + i) % job_.workers()];  // each begins with another one
      const std::uint64_t begin = begin_of(worker_, share);
      const std::uint64_t end = begin_of(worker_ + 1, share);
      if (hints_) dsm::prefetch(share.keys + begin, (end - begin) * sizeof(Key));
      piece.insert(piece.end(), share.keys + begin, share.keys + end);
      ends.push_back(piece.size());
      place += begin;
    }
    merge_runs(piece, ends);
    Key* target = sort_.result + place;
    const std::size_t bytes = piece.size() * sizeof(Key);
    if (hints_) dsm::prefetch(target, bytes, dsm::access::write);
    std::copy(piece.begin(), piece.end(), target);
    if (hints_) dsm::release(target, bytes);
    return piece.size();
  }

  static void merge_runs(std::vector<Key>& keys, std::vector<std::size_t> ends) {
    while (ends.size() > 2) {
      std::vector<std::size_t> merged{0};
      for (std::size_t i = 2; i < ends.size(); i += 2) {
        const auto at = [&](std::size_t end) { return keys.begin() + static_cast<std::ptrdiff_t>(ends[end]); };
        std::inplace_merge(at(i - 2), at(i - 1), at(i));
        merged.push_back(ends[i]);
      }
      if (merged.back() != ends.back()) merged.push_back(ends.back());
      ends = std::move(merged);
    }
  }

  Job& job_;
  const Sort& sort_;
  unsigned worker_;
  bool hints_;
  std::vector<Key> cuts_;
};

void check(Job& job, const Settings& settings, std::uint64_t seed, const std::vector<Key>& sorted,
           app::Report& report) {
  Fingerprint before;
  Fingerprint after;
  for (std::uint64_t i = 0; i < settings.keys; ++i) before.add(input_key(settings, seed, i));
  for (std::uint64_t i = 0; i < settings.keys; ++i) {
    after.add(sorted[i]);
    if (i > 0 && sorted[i - 1] > sorted[i]) {
      return job.fail(fmt::format("key {} is {} and larger than the next one, {}.", i - 1, sorted[i - 1], sorted[i]));
    }
  }
  if (before != after) {
    return job.fail(
        fmt::format("the keys are sorted, but not the ones of the input: sum {:x} and {:x}, exclusive or {:x} "
                    "and {:x}, hash {:x} and {:x}.",
                    before.sum, after.sum, before.exclusive_or, after.exclusive_or, before.hashes, after.hashes));
  }
  if (settings.keys > settings.full_check) return;
  std::vector<Key> expected(settings.keys);
  for (std::uint64_t i = 0; i < settings.keys; ++i) expected[i] = input_key(settings, seed, i);
  const double start = app::now_seconds();
  std::sort(expected.begin(), expected.end());
  report.reference_seconds = app::now_seconds() - start;
  const auto [wrong, right] = std::mismatch(sorted.begin(), sorted.end(), expected.begin());
  if (wrong != sorted.end())
    job.fail(fmt::format("key {} is {} instead of {}.", wrong - sorted.begin(), *wrong, *right));
}

app::Report make_report(Job& job, const Settings& settings, std::uint64_t seed, const Sort& sort) {
  const std::vector<Key> sorted(sort.result, sort.result + settings.keys);
  app::Report report;
  check(job, settings, seed, sorted, report);
  app::Checksum checksum;
  for (const Key key : sorted) checksum.add(key);
  report.checksum = checksum.value();
  report.parameters = {{"keys", settings.keys}, {"distinct", settings.distinct}, {"hints", settings.hints}};
  report.results["check"] = settings.keys > settings.full_check ? "sorted, and the fingerprint of the input"
                                                                : "sorted, and key by key beside std::sort";
  return report;
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{"Sorts random 64-bit keys with all nodes, and checks the result."};
  app::Options options;
  Settings settings;
  cli.option("-n,--keys", settings.keys, "keys to sort").range(std::uint64_t{1}, std::uint64_t{1} << 32).show_default();
  cli.option("--distinct", settings.distinct, "keys are below this number; 0 for all of 64 bits").show_default();
  cli.option("--full-check", settings.full_check, "up to as many keys the result is compared with std::sort's")
      .show_default();
  cli.flag("--hints,!--no-hints", settings.hints, "prefetch and release hints (on unless --no-hints)");
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;

  Job job{"app_sort", options};
  const Sort sort = make_sort(job, settings, options.seed);
  job.measure("keys", [&](const app::Worker& worker) { return Sorter{job, sort, worker.index, settings.hints}.run(); });
  app::Report report;
  if (job.node() == 0) report = make_report(job, settings, options.seed, sort);
  return job.finish(report);
}
