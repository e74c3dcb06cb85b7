// Read-mostly objects: in each round worker 0 changes some of them, then all workers read at random, most of what they
// read being what they have read before. All objects are in node 0's memory.
#include <dsm/hints.h>
#include <fmt/core.h>

#include <span>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "support/command_line.h"

namespace {

using app::Job;
using app::Mode;

struct Settings {
  std::uint64_t reads = 20000;  // a worker, in all rounds
  std::uint64_t objects = 1024;
  unsigned rounds = 20;
  unsigned updates = 8;  // a round
};

struct Object {
  std::uint64_t words[32];

  void write(std::uint64_t stamp) {
    for (std::uint64_t i = 0; i < std::size(words); ++i) words[i] = app::mix(stamp + i);
  }
  std::uint64_t read() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t word : words) sum = (sum << 1 | sum >> 63) ^ word;
    return sum;
  }
};
static_assert(sizeof(Object) == 256);
using Owner = dsm::own_ptr<Object>;

std::uint64_t updated(const Settings& settings, std::uint64_t seed, std::uint64_t i) {
  return app::random_at(seed, 0, i) % settings.objects;
}
std::vector<std::uint32_t> reads_of(const Settings& settings, std::uint64_t seed, unsigned worker) {
  std::vector<std::uint32_t> list(settings.reads);
  for (std::uint64_t i = 0; i < list.size(); ++i) {
    list[i] = static_cast<std::uint32_t>(app::random_at(seed, worker + 1, i) % settings.objects);
  }
  return list;
}

// How the objects are reached: write() one, and a reader for a round, in which nobody changes them.
class Plain {
 public:
  Plain(Job& job, std::uint64_t count) : count_(count), objects_(job.shared<Object>(count, dsm::on_node(0))) {
    for (std::uint64_t i = 0; job.node() == 0 && i < count; ++i) objects_[i].write(i);
    job.sync_nodes();
    fetch_ = !job.native();
  }
  auto reader() const {
    if (fetch_) dsm::prefetch(objects_, count_ * sizeof(Object));
    return [this](std::uint64_t number) { return objects_[number].read(); };
  }
  void write(std::uint64_t number, std::uint64_t stamp) { objects_[number].write(stamp); }

 protected:
  std::uint64_t count_;
  Object* objects_;
  bool fetch_ = false;
};

// All borrows of a round together: one chain looks what has changed. One by one, every read of another node's object
// would ask its home again.
class Hinted : public Plain {
 public:
  using Plain::Plain;
  auto reader() const {
    std::vector<const Object*> all(count_);
    for (std::uint64_t i = 0; i < count_; ++i) all[i] = &objects_[i];
    return [refs = dsm::borrow_shared_each(std::span<const Object* const>(all))](std::uint64_t number) {
      return refs[number]->read();
    };
  }
  void write(std::uint64_t number, std::uint64_t stamp) { dsm::borrow_mut(&objects_[number])->write(stamp); }
};

// The owners are in global memory, where all find them; a change of the object changes its owner, so whoever has an
// old copy sees by the owner alone that it is old. So every read is a borrow of its own.
class Owned {
 public:
  Owned(Job& job, std::uint64_t count) : count_(count), owners_(job.shared<Owner>(count, dsm::on_node(0))) {
    for (std::uint64_t i = 0; job.node() == 0 && i < count; ++i) {
      owners_[i] = dsm::make_owned<Object>();
      write(i, i);
    }
    job.sync_nodes();
  }
  auto reader() const {
    dsm::prefetch(std::span<const Owner>(owners_, count_));
    return [this](std::uint64_t number) { return dsm::borrow_shared(owners_[number])->read(); };
  }
  void write(std::uint64_t number, std::uint64_t stamp) { dsm::borrow_mut(owners_[number])->write(stamp); }

 private:
  std::uint64_t count_;
  Owner* owners_;
};

// Calls write(object, stamp) for all updates of a round, and read(object) for a worker's reads of it.
struct Rounds {
  Settings settings;
  std::uint64_t seed;

  template <typename Write>
  void update(unsigned round, Write write) const {
    for (std::uint64_t i = std::uint64_t{round} * settings.updates; i < (round + 1ULL) * settings.updates; ++i) {
      write(updated(settings, seed, i), (i + 1) << 32);
    }
  }
  template <typename Read>
  std::uint64_t read(unsigned round, const std::vector<std::uint32_t>& list, const Read& read) const {
    std::uint64_t sum = 0;
    const std::uint64_t begin = list.size() * round / settings.rounds;
    const std::uint64_t end = list.size() * (round + 1) / settings.rounds;
    for (std::uint64_t i = begin; i < end; ++i) sum = app::mix(sum) + read(list[i]);
    return sum;
  }
};

template <typename Objects>
app::Report check(Job& job, const Rounds& rounds, Objects& objects, const std::uint64_t* sums) {
  const Settings& settings = rounds.settings;
  std::vector<Object> plain(settings.objects);
  for (std::uint64_t i = 0; i < plain.size(); ++i) plain[i].write(i);
  std::vector<std::vector<std::uint32_t>> lists;
  for (unsigned worker = 0; worker < job.workers(); ++worker) lists.push_back(reads_of(settings, rounds.seed, worker));
  std::vector<std::uint64_t> expected(job.workers());
  for (unsigned round = 0; round < settings.rounds; ++round) {
    rounds.update(round, [&](std::uint64_t number, std::uint64_t stamp) { plain[number].write(stamp); });
    for (unsigned worker = 0; worker < job.workers(); ++worker) {
      expected[worker] += rounds.read(round, lists[worker], [&](std::uint32_t i) { return plain[i].read(); });
    }
  }
  app::Checksum checksum;
  for (unsigned worker = 0; worker < job.workers(); ++worker) {
    if (sums[worker] != expected[worker]) job.fail(fmt::format("worker {} has read an old or torn object.", worker));
    checksum.add(sums[worker]);
  }
  const auto read = objects.reader();
  for (std::uint64_t i = 0; i < plain.size(); ++i) {
    if (read(i) != plain[i].read()) job.fail(fmt::format("object {} is wrong in the end.", i));
    checksum.add(read(i));
  }
  app::Report report;
  report.checksum = checksum.value();
  report.parameters = {{"reads_per_worker", settings.reads},
                       {"objects", settings.objects},
                       {"rounds", settings.rounds},
                       {"updates_per_round", settings.updates}};
  return report;
}

template <typename Objects>
int run_mode(const Settings& settings, const app::Options& options) {
  Job job{"app_reread", options};
  const Rounds rounds{settings, options.seed};
  auto* sums = job.shared<std::uint64_t>(job.workers());
  std::vector<std::vector<std::uint32_t>> lists;
  for (unsigned i = 0; i < job.own_workers(); ++i) {
    lists.push_back(reads_of(settings, options.seed, job.first_worker() + i));
  }
  Objects objects{job, settings.objects};
  job.measure("reads", [&](const app::Worker& worker) {
    std::uint64_t sum = 0;
    for (unsigned round = 0; round < settings.rounds; ++round) {
      if (worker.index == 0) rounds.update(round, [&](auto number, auto stamp) { objects.write(number, stamp); });
      job.sync_workers();
      const double start = app::now_seconds();
      sum += rounds.read(round, lists[worker.thread], objects.reader());
      job.note_latency(worker.index, app::now_seconds() - start);
      job.sync_workers();
    }
    sums[worker.index] = sum;
    return settings.reads;
  });
  app::Report report;
  if (job.node() == 0) report = check(job, rounds, objects, sums);
  return job.finish(report);
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{
      "One worker changes a few of many objects by rounds, all read them; all that was read is checked."};
  app::Options options;
  Settings settings;
  cli.option("-n,--operations", settings.reads, "reads of each worker, in all rounds")
      .range(std::uint64_t{1}, std::uint64_t{1} << 32)
      .show_default();
  cli.option("--objects", settings.objects, "objects of 256 bytes").range(1, 1 << 20).show_default();
  cli.option("--rounds", settings.rounds, "rounds of changes, then reads").range(1, 1 << 20).show_default();
  cli.option("--updates", settings.updates, "changes of each round").range(0, 1 << 20).show_default();
  app::add_modes(cli, options);
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;
  return app::in_mode<Plain, Hinted, Owned>(options.mode, [&]<typename Objects>(std::type_identity<Objects>) {
    return run_mode<Objects>(settings, options);
  });
}
