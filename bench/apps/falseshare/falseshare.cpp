// False sharing: 64-byte objects side by side on the same pages, each written by one worker and no other. No two nodes
// ever want the same object; what it costs is the unit of sharing being larger than the object. Between two writes a
// worker computes on its own (--work): without that, page mode makes so many writes each time it has a page that false
// sharing hardly shows.
//
// The objects are one array, which no allocator can part, or (--each) blocks that node 0 allocates one by one, for
// which dsmrun --auto-from can do something.
#include <dsm/hints.h>
#include <fmt/core.h>

#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "support/command_line.h"

namespace {

using app::Job;
using app::Mode;

struct Settings {
  std::uint64_t writes = 20000;  // a worker
  std::uint64_t objects = 64;    // a worker
  std::uint64_t work = 250;      // steps before each write
  bool each = false;             // objects are blocks of their own
};

struct Object {
  std::uint64_t value;
  std::uint64_t writes;
  std::uint64_t spare[6];

  void write(std::uint64_t computed) {
    value = app::mix(value + computed);
    ++writes;
  }
};
static_assert(sizeof(Object) == 64);
using Owner = dsm::own_ptr<Object>;

// Worker w's objects are number w, w + workers, w + 2 * workers, ...; it writes them by turns.
struct Share {
  std::uint64_t first, step, count;
  std::uint64_t object(std::uint64_t i) const { return first + i % count * step; }
};

// A worker's own computation before write number i; its result is what is written.
std::uint64_t compute(const Settings& settings, std::uint64_t i) {
  for (std::uint64_t step = 0; step < settings.work; ++step) i = app::mix(i + step);
  return i;
}

// The objects begin in node 0's memory. write(worker, share, i, computed) is write number i of a worker.
class Plain {
 public:
  Plain(Job& job, const Settings& settings)
      : objects_(job.shared<Object>(settings.objects * job.workers(), dsm::on_node(0))) {}
  void write(const app::Worker&, const Share& share, std::uint64_t i, std::uint64_t computed) {
    objects_[share.object(i)].write(computed);
  }
  void give_back() {}
  Object peek(std::uint64_t number) { return objects_[number]; }

 protected:
  Object* objects_;
};

class Hinted : public Plain {
 public:
  using Plain::Plain;
  void write(const app::Worker&, const Share& share, std::uint64_t i, std::uint64_t computed) {
    dsm::borrow_mut(&objects_[share.object(i)])->write(computed);
  }
};

// As Plain, with each object a block of its own: what makes false sharing of them is the allocator.
class Each {
 public:
  Each(Job& job, const Settings& settings) : objects_(job.shared<Object*>(settings.objects * job.workers())) {
    for (std::uint64_t i = 0; job.node() == 0 && i < settings.objects * job.workers(); ++i) {
      void* const block = dsm::alloc(sizeof(Object));
      if (block == nullptr) job.die("there is no memory for the objects.");
      objects_[i] = ::new (block) Object{};
    }
    job.sync_nodes();
  }
  void write(const app::Worker&, const Share& share, std::uint64_t i, std::uint64_t computed) {
    objects_[share.object(i)]->write(computed);
  }
  void give_back() {}
  Object peek(std::uint64_t number) { return *objects_[number]; }

 private:
  Object** objects_;
};

// Node 0 makes the objects and hands each worker its owners; in the end it gets them back.
class Owned {
 public:
  Owned(Job& job, const Settings& settings) : job_(job), count_(settings.objects), held_(job.threads()) {
    const std::uint64_t all = count_ * job.workers();
    owners_ = job.shared<Owner>(all);
    for (std::uint64_t i = 0; job.node() == 0 && i < all; ++i) owners_[i] = dsm::make_owned<Object>();
    job.sync_nodes();
    for (unsigned thread = 0; thread < job.threads(); ++thread) {
      for (std::uint64_t i = 0; i < count_; ++i) held_[thread].push_back(std::move(owner(thread, i)));
    }
  }
  void write(const app::Worker& worker, const Share&, std::uint64_t i, std::uint64_t computed) {
    dsm::borrow_mut(held_[worker.thread][i % count_])->write(computed);
  }
  void give_back() {
    for (unsigned thread = 0; thread < job_.threads(); ++thread) {
      for (std::uint64_t i = 0; i < count_; ++i) owner(thread, i) = std::move(held_[thread][i]);
    }
    job_.sync_nodes();
  }
  Object peek(std::uint64_t number) { return *dsm::borrow_shared(owners_[number]); }

 private:
  Owner& owner(unsigned thread, std::uint64_t i) {
    return owners_[Share{job_.first_worker() + thread, job_.workers(), count_}.object(i)];
  }

  Job& job_;
  std::uint64_t count_;
  Owner* owners_ = nullptr;
  std::vector<std::vector<Owner>> held_;  // by thread
};

template <typename Objects>
app::Report check(Job& job, const Settings& settings, Objects& objects) {
  app::Checksum checksum;
  for (unsigned worker = 0; worker < job.workers(); ++worker) {
    const Share share{worker, job.workers(), settings.objects};
    std::vector<Object> expected(settings.objects, Object{});
    for (std::uint64_t i = 0; i < settings.writes; ++i) {
      expected[i % settings.objects].write(compute(settings, i));
    }
    for (std::uint64_t i = 0; i < settings.objects; ++i) {
      const Object object = objects.peek(share.object(i));
      if (object.value != expected[i].value || object.writes != expected[i].writes) {
        job.fail(fmt::format("object {} holds {:x} after {} writes instead of {:x} after {}.", share.object(i),
                             object.value, object.writes, expected[i].value, expected[i].writes));
      }
      checksum.add(object.value);
    }
  }
  app::Report report;
  report.checksum = checksum.value();
  report.parameters = {
      {"writes_per_worker", settings.writes}, {"objects_per_worker", settings.objects}, {"work", settings.work}};
  if (settings.each) report.parameters["each"] = true;
  return report;
}

template <typename Objects>
int run_mode(const Settings& settings, const app::Options& options) {
  Job job{"app_falseshare", options};
  Objects objects{job, settings};
  job.measure("writes", [&](const app::Worker& worker) {
    const Share share{worker.index, job.workers(), settings.objects};
    for (std::uint64_t i = 0; i < settings.writes; ++i) objects.write(worker, share, i, compute(settings, i));
    return settings.writes;
  });
  objects.give_back();
  app::Report report;
  if (job.node() == 0) report = check(job, settings, objects);
  return job.finish(report);
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{
      "Workers write 64-byte objects of their own that share pages with the others'; every value is checked."};
  app::Options options;
  Settings settings;
  cli.option("-n,--operations", settings.writes, "writes of each worker")
      .range(std::uint64_t{1}, std::uint64_t{1} << 32)
      .show_default();
  cli.option("--objects", settings.objects, "objects of each worker").range(1, 1 << 20).show_default();
  cli.option("--work", settings.work, "steps of own computation before each write, some 4 ns each")
      .range(0, 1 << 30)
      .show_default();
  cli.flag("--each", settings.each, "each object is a block of its own (mode page)");
  app::add_modes(cli, options);
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;
  if (settings.each && options.mode == Mode::kPage) return run_mode<Each>(settings, options);
  return app::in_mode<Plain, Hinted, Owned>(options.mode, [&]<typename Objects>(std::type_identity<Objects>) {
    return run_mode<Objects>(settings, options);
  });
}
