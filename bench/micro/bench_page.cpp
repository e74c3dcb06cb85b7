// bench_page: page mode beside the bare mechanisms it stands on, in one run. The driver starts a job for each part with
// dsmrun (this same program with --part); node 0 of the job writes its rows to a file, the driver gathers them.
#include <dsm/dsm.h>
#include <fmt/core.h>
#include <linux/sched.h>
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <numeric>
#include <random>
#include <thread>

#include "bench/micro/page_parts.h"

namespace dsm::bench {

const std::vector<Part>& parts() {
  static const std::vector<Part> all{
      {"faults", 2, "--readahead 0", true, faults},
      {"upgrade-1", 2, "--readahead 0", true, upgrades},
      {"upgrade-3", 4, "--readahead 0", true, upgrades},
      {"home-cpu", 2, "--readahead 0", true, home_cpu},
      {"busy-home", 2, "--readahead 0", true, busy_home},
      {"sequential", 2, "", true, bulk},
      {"sparse", 2, "", true, sparse_bytes},
      {"in-turns", 2, "", true, in_turns},
      // Its own threads never sleep; an idle-class thread beside them would only take slices of their CPUs.
      {"alternation", 2, "", false, alternation},
      {"counter", 2, "", true, counter},
      {"locks", 2, "", true, locks},
      {"barrier-2", 2, "", true, barriers},
      {"barrier-2-idle", 2, "", false, barriers},
      {"barrier-4", 4, "", true, barriers},
      {"barrier-cache", 2, "", true, barrier_and_cache},
      {"system-calls", 2, "--engine uffd-thread", true, system_calls},
      {"heap-ours", 0, "", false, heap_ours},
      {"heap-plain", 0, "", false, heap_plain},
  };
  return all;
}

void Context::report(std::string name, double value, std::string unit, std::optional<double> peer,
                     std::string peer_name, Goal goal, double bound) {
  rows.push_back({std::move(name), value, std::move(unit), peer, std::move(peer_name), goal, bound});
}

std::vector<std::size_t> shuffled(std::size_t n, unsigned seed) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937_64(seed));
  return order;
}

void touch_each(std::byte* block, const std::vector<std::size_t>& order, Touch touch, std::vector<double>& times) {
  for (const std::size_t page : order) {
    auto* const word = reinterpret_cast<volatile std::uint64_t*>(block + page * kPage);
    const auto begin = Clock::now();
    if (touch == Touch::kWrite)
      *word = page;
    else
      (void)*word;
    times.push_back(us_since(begin));
  }
}

namespace {

// Threads of the lowest priority there is keep the CPUs from halting and get out of everyone's way.
class Awake {
 public:
  Awake() {
    for (unsigned i = 0; i < std::thread::hardware_concurrency(); ++i) {
      threads_.emplace_back([this] {
        const sched_param none{};
        ::sched_setscheduler(0, SCHED_IDLE, &none);
        while (!stop_) __builtin_ia32_pause();
      });
    }
  }
  ~Awake() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

int run_part(const std::string& name, const std::string& rows_file, bool quick) {
  for (const Part& part : parts()) {
    if (part.name != name) continue;
    if (name != "heap-plain" && dsm::start()) return 69;
    Context context{quick, part.awake ? "" : ", idle CPUs halted", {}};
    part.run(context);
    if (part.nodes != 0) meet();
    const bool reports = name == "heap-plain" || dsm::node() == 0;
    return !reports || write_rows(rows_file, context.rows) ? 0 : 74;
  }
  return 64;
}

class Driver {
 public:
  Driver(bool quick, std::string only) : quick_(quick), only_(std::move(only)), bin_(program_folder().string()) {}

  bool run() {
    bool good = true;
    for (const Part& part : parts()) {
      if (part.nodes == 0 || !chosen(part.name)) continue;
      fmt::print(stderr, "bench_page: {} ...\n", part.name);
      std::optional<Awake> awake;
      if (part.awake) awake.emplace();
      const auto rows = start(part, "");
      if (rows.empty()) fmt::print(stderr, "bench_page: {} failed\n", part.name);
      good &= !rows.empty();
      rows_.insert(rows_.end(), rows.begin(), rows.end());
    }
    if (chosen("heap")) good &= heap();
    return good;
  }
  const std::vector<Row>& rows() const { return rows_; }

 private:
  bool chosen(const std::string& name) const { return only_.empty() || name.find(only_) == 0; }

  std::vector<Row> start(const Part& part, const std::string& before) {
    std::string command = before;
    if (part.nodes != 0) command += fmt::format("'{}/dsmrun' -n {} {} -- ", bin_, part.nodes, part.dsmrun_options);
    command += fmt::format("'{}/bench_page' --part {}{}", bin_, part.name, quick_ ? " --quick" : "");
    return run_for_rows(command);
  }

  // Ours and plain jemalloc in turns, each in a process of its own.
  bool heap() {
    fmt::print(stderr, "bench_page: heap ...\n");
    std::vector<double> ours, plain;
    const auto one = [&](const char* name, const std::string& before, std::vector<double>& into) {
      for (const Part& part : parts()) {
        if (part.name != name) continue;
        const auto rows = start(part, before);
        if (rows.empty()) return false;
        into.push_back(rows[0].value);
      }
      return true;
    };
    for (int turn = 0; turn < (quick_ ? 5 : 31); ++turn) {
      if (!one("heap-ours", "", ours) || !one("heap-plain", "LD_PRELOAD=libjemalloc.so.2 ", plain)) return false;
    }
    rows_.push_back({"fresh unshared memory and a pointer chase over it", median(ours), "ms", median(plain),
                     "plain jemalloc", Goal::kRatioAtMost, 1.01});
    return true;
  }

  const bool quick_;
  const std::string only_;
  const std::string bin_;
  std::vector<Row> rows_;
};

}  // namespace
}  // namespace dsm::bench

int main(int argc, char** argv) {
  dsm::bench::JobRequest request;
  std::string only;
  dsm::support::CommandLine app(
      "Page mode beside the bare mechanisms it stands on. CPUs are kept awake unless a row says otherwise.");
  declare(app, request);
  app.option("--only", only, "only the parts whose names begin so");
  if (const auto status = app.parse(argc, argv)) return *status;
  if (!request.part.empty()) return dsm::bench::run_part(request.part, request.rows_file, request.quick);

  dsm::bench::Driver driver(request.quick, only);
  const bool good = driver.run();
  dsm::bench::print_rows(driver.rows(), request.json);
  return good ? 0 : 1;
}
