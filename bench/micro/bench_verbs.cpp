// bench_verbs: libdsm over RDMA verbs beside perftest's programs on the same device, in one run, in turns. Needs an
// RDMA device (`scripts/rdma-vm -- build/bin/bench_verbs` where there is none: that shows ratios, not speed).
#include <dsm/dsm.h>
#include <dsm/hints.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "base/signals.h"
#include "bench/micro/bare.h"
#include "bench/micro/object_parts.h"
#include "hints/borrow.h"
#include "net/verbs_transport.h"

namespace dsm::bench {
namespace {

constexpr std::size_t kObjects = 1024;  // each on a page of its own
constexpr std::size_t kPages = 1024;
constexpr std::size_t kLarge = 1 << 20;
constexpr std::size_t kLargeObjects = 8;
constexpr std::size_t kWarm = 32;  // of each kind, not measured

struct Figures {
  std::vector<Row> rows;
  void add(std::string name, double value, std::string unit) {
    rows.push_back({std::move(name), value, std::move(unit), {}, {}, Goal::kNone, 0});
  }
};

runtime::Node& node() { return hints::engine().node; }
net::VerbsCounters counters() { return net::verbs_counters(*node().transport); }

template <typename Act>
double median_us(std::size_t first, std::size_t end, Act act) {
  std::vector<double> times;
  for (std::size_t i = first; i < end; ++i) {
    const auto begin = Clock::now();
    act(i);
    times.push_back(ns_since(begin) / 1000);
  }
  return median(times);
}

// --- on the nodes of the job: node 1 is the home and sleeps, node 0 measures
// ------------------------------------------

struct Home {
  std::uint64_t pid;
  std::uint64_t small[2 * kObjects];
  std::uint64_t large[kLargeObjects];
};

void be_home(Home& home, std::byte* pages) {
  std::vector<dsm::own_ptr<Object>> small;
  std::vector<dsm::own_ptr<std::uint64_t[]>> large;
  for (std::uint64_t& bits : home.small) {
    small.push_back(dsm::make_owned<Object>());
    bits = small.back().bits();
  }
  for (std::uint64_t& bits : home.large) {
    large.push_back(dsm::make_owned<std::uint64_t[]>(kLarge / 8));
    bits = large.back().bits();
  }
  for (std::size_t i = 0; i < 2 * kPages; ++i) pages[i * kPage] = std::byte{1};
  home.pid = static_cast<std::uint64_t>(::getpid());
  meet();
  meet();
}

void measure_bare(Figures& out, std::byte* scratch) {
  const auto offset = reinterpret_cast<std::uint64_t>(scratch) - node().geometry.base;
  alignas(64) std::array<std::byte, kPage> bytes{};
  const auto run = [&](net::Op op) {
    return median_us(0, 1000, [&](std::size_t) {
      const SignalsBlocked blocked;
      if (!node().transport->execute(1, {&op, 1})) std::abort();
    });
  };
  run(net::read_op(net::Region::kMemory, offset, bytes.data(), 64));
  out.add("READ of 64 bytes", run(net::read_op(net::Region::kMemory, offset, bytes.data(), 64)), "us");
  out.add("READ of 4 KiB", run(net::read_op(net::Region::kMemory, offset, bytes.data(), kPage)), "us");
  out.add("WRITE of 64 bytes, acknowledged", run(net::write_op(net::Region::kMemory, offset, bytes.data(), 64)), "us");
  out.add("FETCH_ADD", run(net::fetch_add_op(net::Region::kMemory, offset, 0)), "us");
}

// The load is made, whatever the compiler thinks of it.
template <typename T>
void touch(const T& where) {
  static_cast<void>(*const_cast<const volatile T*>(&where));
}

void measure_objects(Figures& out, const Home& home, std::size_t first, const char* what) {
  std::vector<dsm::own_ptr<Object>> owners;
  for (std::size_t i = first; i < first + kObjects; ++i) owners.push_back(dsm::own_ptr<Object>::adopt(home.small[i]));
  const auto read = [&](std::size_t i) { touch(dsm::borrow_shared(owners[i])->words[0]); };
  for (std::size_t i = 0; i < kObjects; i += kPage / sizeof(Object)) read(i);  // each page into object mode
  std::vector<double> times;
  const net::VerbsCounters before = counters();
  for (std::size_t i = 0; i < kObjects; ++i) {
    if (i % (kPage / sizeof(Object)) == 0) continue;
    const auto begin = Clock::now();
    read(i);
    times.push_back(ns_since(begin) / 1000);
  }
  out.add(fmt::format("first read of a 64-byte object{}", what), median(times), "us");
  out.add(fmt::format("posted operations for it{}", what),
          static_cast<double>(counters().operations - before.operations) / static_cast<double>(times.size()), "");
  for (auto& owner : owners) owner.leak();
}

// In an order that no read-ahead follows.
void measure_pages(Figures& out, const std::byte* pages, std::size_t first, const char* what) {
  const auto miss = [&](std::size_t i) { touch(pages[(first + i * 389 % kPages) * kPage]); };
  for (std::size_t i = 0; i < kWarm; ++i) miss(i);
  const net::VerbsCounters before = counters();
  const std::uint64_t atomics = node().stats->op_atomic.load();
  out.add(fmt::format("page miss{}", what), median_us(kWarm, kPages, miss), "us");
  const auto misses = static_cast<double>(kPages - kWarm);
  out.add(fmt::format("posted operations for it{}", what == std::string() ? " (page miss)" : what),
          static_cast<double>(counters().operations - before.operations) / misses, "");
  out.add(fmt::format("atomics for it{}", what), static_cast<double>(node().stats->op_atomic.load() - atomics) / misses,
          "");
}

void measure_large(Figures& out, const Home& home) {
  std::vector<double> rates;
  std::vector<dsm::own_ptr<std::uint64_t[]>> owners;
  for (const std::uint64_t bits : home.large) owners.push_back(dsm::own_ptr<std::uint64_t[]>::adopt(bits, kLarge / 8));
  for (auto& owner : owners) {
    const auto begin = Clock::now();
    touch(dsm::borrow_shared(owner)[0]);
    rates.push_back(static_cast<double>(kLarge) / ns_since(begin) * 1000);
  }
  out.add("first read of 1 MiB", median(std::vector<double>(rates.begin() + 1, rates.end())), "MB/s");
  for (auto& owner : owners) owner.leak();
}

double own_fault_us() {
  Bare bare(kPages * kPage);
  bare.arm(Bare::What::kCopyMapRead);
  const double each = median_us(0, kPages, [&](std::size_t i) { touch(bare.view()[i * kPage]); });
  bare.disarm();
  return each;
}

void run_part(Figures& out) {
  auto* const home = reinterpret_cast<Home*>(shared_block("home", sizeof(Home) + kPage, 1));
  std::byte* const pages = shared_block("pages", 2 * kPages * kPage, 1);
  std::byte* const scratch = shared_block("scratch", kPage, 1);
  if (dsm::node() == 1) return be_home(*home, pages);
  meet();
  measure_bare(out, scratch);
  measure_objects(out, *home, 0, "");
  measure_pages(out, pages, 0, "");
  measure_large(out, *home);
  // The first use of memory needs its home once: here it is known already.
  touch(pages[kPages * kPage]);
  touch(home->small[kObjects]);
  const auto pid = static_cast<pid_t>(home->pid);
  ::kill(pid, SIGSTOP);
  measure_pages(out, pages, kPages, ", home stopped");
  ::kill(pid, SIGCONT);
  out.add("this machine's fault path with a copy", own_fault_us(), "us");
  meet();
}

// --- the driver
// -------------------------------------------------------------------------------------------------------

// One of perftest's programs against itself; the figure in that column of its last table row.
double perftest(const std::string& program, const std::string& arguments, unsigned column) {
  const std::string line = fmt::format(
      "{0} {1} >/dev/null 2>&1 & server=$!; for try in 1 2 3 4 5; do sleep 1; "
      "{0} {1} 127.0.0.1 2>/dev/null && break; done; wait $server",
      program, arguments);
  std::FILE* const out = ::popen(line.c_str(), "r");
  double figure = 0;
  for (char text[512]; out != nullptr && std::fgets(text, sizeof text, out) != nullptr;) {
    double fields[8] = {};
    const int got = std::sscanf(text, " %lf %lf %lf %lf %lf %lf", &fields[0], &fields[1], &fields[2], &fields[3],
                                &fields[4], &fields[5]);
    if (got > static_cast<int>(column)) figure = fields[column];
  }
  if (out != nullptr) ::pclose(out);
  return figure;
}

using Samples = std::map<std::string, std::vector<double>>;

void sample_peers(Samples& peers, const std::string& device, bool quick) {
  const std::string common = fmt::format("-F {}", device);
  const int times = quick ? 300 : 1000;
  for (const unsigned bytes : {64U, 4096U}) {
    peers[fmt::format("ib_read_lat {}", bytes)].push_back(
        perftest("ib_read_lat", fmt::format("{} -s {} -n {}", common, bytes, times), 4));
  }
  peers["ib_write_lat 64"].push_back(2 * perftest("ib_write_lat", fmt::format("{} -s 64 -n {}", common, times), 4));
  peers["ib_atomic_lat"].push_back(perftest("ib_atomic_lat", fmt::format("{} -n {}", common, times), 4));
  peers["ib_read_bw"].push_back(
      perftest("ib_read_bw", fmt::format("{} -s {} -n {} --report_gbits", common, kLarge, quick ? 16 : 64), 3) * 125);
}

std::vector<Row> compare(const std::vector<Row>& shape, Samples& ours, Samples& peers) {
  const double read_page = median(peers["ib_read_lat 4096"]);
  const double fault = median(ours["this machine's fault path with a copy"]);
  std::vector<Row> rows;
  for (Row row : shape) {
    row.value = median(ours[row.name]);
    const auto beside = [&](double peer, const char* name, Goal goal, double bound) {
      row.peer = peer;
      row.peer_name = name;
      row.goal = goal;
      row.bound = bound;
    };
    if (row.name == "READ of 64 bytes") beside(median(peers["ib_read_lat 64"]), "ib_read_lat", Goal::kRatioAtMost, 1.1);
    if (row.name == "READ of 4 KiB") beside(read_page, "ib_read_lat", Goal::kRatioAtMost, 1.1);
    if (row.name == "FETCH_ADD") beside(median(peers["ib_atomic_lat"]), "ib_atomic_lat", Goal::kRatioAtMost, 1.1);
    if (row.name.starts_with("WRITE of 64")) {
      beside(median(peers["ib_write_lat 64"]), "ib_write_lat, there and back", Goal::kNone, 0);
    }
    if (row.name.starts_with("first read of a 64")) {
      beside(median(peers["ib_read_lat 64"]), "ib_read_lat", Goal::kRatioAtMost, 1.1);
    }
    if (row.name.starts_with("page miss")) {
      beside(read_page + fault, "ib_read_lat 4 KiB + the fault path", Goal::kRatioAtMost, 1.1);
    }
    if (row.name == "first read of 1 MiB") beside(median(peers["ib_read_bw"]), "ib_read_bw", Goal::kRatioAtLeast, 0.9);
    rows.push_back(row);
  }
  return rows;
}

int drive(int rounds, bool quick, bool json, const std::string& perftest_device) {
  const std::string bin = program_folder().string();
  Samples ours, peers;
  std::vector<Row> shape;
  for (int round = 0; round < rounds; ++round) {
    fmt::print(stderr, "bench_verbs: round {} of {} ...\n", round + 1, rounds);
    const auto rows = run_for_rows(
        fmt::format("DSM_TRANSPORT=verbs DSM_READAHEAD=0 '{0}/dsmrun' -n 2 --slice 256M --interleaved 64M -- "
                    "'{0}/bench_verbs' --part job",
                    bin));
    if (rows.empty()) return 1;
    shape = rows;
    for (const Row& row : rows) ours[row.name].push_back(row.value);
    sample_peers(peers, perftest_device, quick);
  }
  print_rows(compare(shape, ours, peers), json);
  return 0;
}

int run(int argc, char** argv) {
  bool quick = false, json = false;
  int rounds = 3;
  std::string part, rows_file, device = "-x 1";
  CLI::App app("libdsm over RDMA verbs beside perftest, in turns, in one run.");
  app.add_flag("--quick", quick, "one round, shorter");
  app.add_flag("--json", json, "one JSON object a row instead of the table");
  app.add_option("--rounds", rounds, "how often libdsm and perftest take turns")->check(CLI::PositiveNumber);
  app.add_option("--perftest", device, "options of perftest's programs that name the device (\"-d rxe0 -x 1\")");
  app.add_option("--part", part)->group("");
  app.add_option("--rows", rows_file)->group("");
  CLI11_PARSE(app, argc, argv);
  if (part.empty()) return drive(quick ? 1 : rounds, quick, json, device);
  if (dsm::start()) return 69;
  Figures figures;
  run_part(figures);
  meet();
  return dsm::node() != 0 || write_rows(rows_file, figures.rows) ? 0 : 74;
}

}  // namespace
}  // namespace dsm::bench

int main(int argc, char** argv) { return dsm::bench::run(argc, argv); }
