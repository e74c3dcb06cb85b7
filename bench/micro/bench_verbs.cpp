// bench_verbs: libdsm over RDMA verbs beside perftest's programs on the same device, in one run, in turns. Needs an
// RDMA device (`scripts/rdma-vm -- build/bin/bench_verbs` where there is none: that shows ratios, not speed).
#include <dsm/dsm.h>
#include <dsm/hints.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/signals.h"
#include "bench/micro/bare.h"
#include "bench/micro/bare_chain.h"
#include "bench/micro/object_parts.h"
#include "hints/borrow.h"
#include "net/verbs_transport.h"

namespace dsm::bench {
namespace {

constexpr std::size_t kObjects = 1024;  // each on a page of its own
constexpr std::size_t kPages = 1024;
constexpr std::size_t kLarge = 1 << 20;
constexpr std::size_t kLargeObjects = 12;  // more than the object cache holds
constexpr std::size_t kWarm = 32;          // of each kind, not measured
constexpr const char* kSmallChain = "READs of 64 and 8 bytes, one chain, by the verbs alone";
constexpr const char* kMissChain = "FETCH_ADD and READ of 4 KiB, one chain, by the verbs alone";
constexpr const char* kBareMiss = "a signal handler that does no more than that chain, a copy and mprotect";
constexpr const char* kLargeChain = "READs of 1 MiB and 8 bytes, one chain, by the verbs alone";

struct Figures {
  std::vector<Row> rows;
  void add(std::string name, double value, std::string unit) {
    rows.push_back({std::move(name), value, std::move(unit), {}, {}, Goal::kNone, 0});
  }
};

runtime::Node& node() { return hints::engine().node; }
net::VerbsCounters counters() { return net::verbs_counters(*node().transport); }

void touch_byte(const void* at) { static_cast<void>(*static_cast<const volatile char*>(at)); }

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

// --- on the nodes of the job: node 1 is the home and sleeps, node 0 measures -----------------------------------------

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
  const auto run_chain = [&](auto chain) {
    return median_us(0, 1000, [&](std::size_t) {
      const SignalsBlocked blocked;
      if (!node().transport->execute(1, chain)) std::abort();
    });
  };
  const auto run = [&](net::Op op) { return run_chain(std::array{op}); };
  run(net::read_op(net::Region::kMemory, offset, bytes.data(), 64));
  out.add("READ of 64 bytes", run(net::read_op(net::Region::kMemory, offset, bytes.data(), 64)), "us");
  out.add("READ of 4 KiB", run(net::read_op(net::Region::kMemory, offset, bytes.data(), kPage)), "us");
  out.add("WRITE of 64 bytes, acknowledged", run(net::write_op(net::Region::kMemory, offset, bytes.data(), 64)), "us");
  out.add("FETCH_ADD", run(net::fetch_add_op(net::Region::kMemory, offset, 0)), "us");
  out.add("FETCH_ADD and READ of 4 KiB, one chain",
          run_chain(std::array{net::fetch_add_op(net::Region::kMemory, offset, 0),
                               net::read_op(net::Region::kMemory, offset, bytes.data(), kPage)}),
          "us");
}

using Owners = std::vector<dsm::own_ptr<Object>>;
void read_small(const Owners& owners, std::size_t i) { touch_byte(&dsm::borrow_shared(owners[i])->words[0]); }

// Their pages are in object mode then, for which the home is needed.
Owners open_small(const Home& home, std::size_t first) {
  Owners owners;
  for (std::size_t i = first; i < first + kObjects; ++i) owners.push_back(dsm::own_ptr<Object>::adopt(home.small[i]));
  for (std::size_t i = 0; i < kObjects; i += kPage / sizeof(Object)) read_small(owners, i);
  return owners;
}

void measure_objects(Figures& out, Owners owners, const char* what) {
  std::vector<double> times;
  const net::VerbsCounters before = counters();
  for (std::size_t i = 0; i < kObjects; ++i) {
    if (i % (kPage / sizeof(Object)) == 0) continue;
    const auto begin = Clock::now();
    read_small(owners, i);
    times.push_back(ns_since(begin) / 1000);
  }
  out.add(fmt::format("first read of a 64-byte object{}", what), median(times), "us");
  out.add(fmt::format("posted operations for it (object){}", what),
          static_cast<double>(counters().operations - before.operations) / static_cast<double>(times.size()), "");
  for (auto& owner : owners) owner.leak();
}

// In an order that no read-ahead follows.
void measure_pages(Figures& out, const std::byte* pages, std::size_t first, const char* what) {
  const auto touch = [&](std::size_t i) { touch_byte(pages + (first + i * 389 % kPages) * kPage); };
  for (std::size_t i = 0; i < kWarm; ++i) touch(i);
  const net::VerbsCounters before = counters();
  const std::uint64_t atomics = node().stats->op_atomic.load();
  out.add(fmt::format("page miss{}", what), median_us(kWarm, kPages, touch), "us");
  const auto misses = static_cast<double>(kPages - kWarm);
  out.add(fmt::format("posted operations for it{}", what == std::string() ? " (page miss)" : what),
          static_cast<double>(counters().operations - before.operations) / misses, "");
  out.add(fmt::format("atomics for it{}", what), static_cast<double>(node().stats->op_atomic.load() - atomics) / misses,
          "");
}

// The first time, when the pages become object pages and the cache's memory is new; and again, when it was evicted.
void measure_large(Figures& out, const Home& home) {
  std::vector<dsm::own_ptr<std::uint64_t[]>> owners;
  for (const std::uint64_t bits : home.large) owners.push_back(dsm::own_ptr<std::uint64_t[]>::adopt(bits, kLarge / 8));
  std::vector<double> first, again;
  const std::atomic<std::uint64_t>& misses = node().stats->object_miss;
  std::uint64_t posted = 0;
  for (std::size_t round = 0; round < 5; ++round) {
    for (auto& owner : owners) {
      const std::uint64_t missed = misses.load(), operations = counters().operations;
      const auto begin = Clock::now();
      touch_byte(&dsm::borrow_shared(owner)[0]);
      const double rate = static_cast<double>(kLarge) / ns_since(begin) * 1000;
      if (misses.load() == missed) continue;
      (round == 0 ? first : again).push_back(rate);
      if (round == 4) posted = counters().operations - operations;
    }
  }
  out.add("read of 1 MiB, the first", median(std::move(first)), "MB/s");
  out.add("read of 1 MiB", median(std::move(again)), "MB/s");
  out.add("posted operations for it (1 MiB)", static_cast<double>(posted), "");
  for (auto& owner : owners) owner.leak();
}

// The engine's bare mechanism: two views of memory, and a handler that copies the page into one and opens the other;
// with a chain, that runs first.
struct TwoViews {
  std::byte *view, *service;
  BareChain* chain;
} two_views{};

void copy_and_open(int, siginfo_t* info, void*) {
  static std::array<std::byte, kPage> source{};
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr) & ~(kPage - 1);
  constexpr std::array<std::uint32_t, 2> kSteps = {BareChain::kFetchAdd, kPage};
  if (two_views.chain != nullptr) two_views.chain->run(kSteps);
  std::memcpy(two_views.service + (at - reinterpret_cast<std::uintptr_t>(two_views.view)), source.data(), kPage);
  if (::mprotect(reinterpret_cast<void*>(at), kPage, PROT_READ) != 0) std::abort();
}

double own_protection_fault_us(BareChain* chain) {
  constexpr std::size_t kBytes = kPages * kPage;
  const int file = ::memfd_create("bare", MFD_CLOEXEC);
  if (file < 0 || ::ftruncate(file, kBytes) != 0) std::abort();
  void* const view = ::mmap(nullptr, kBytes, PROT_NONE, MAP_SHARED, file, 0);
  void* const service = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (view == MAP_FAILED || service == MAP_FAILED) std::abort();
  std::memset(service, 1, kBytes);
  two_views = {static_cast<std::byte*>(view), static_cast<std::byte*>(service), chain};
  struct sigaction mine {
  }, before{};
  mine.sa_sigaction = copy_and_open;
  mine.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSEGV, &mine, &before);
  const double each =
      median_us(0, kPages, [&](std::size_t i) { touch_byte(two_views.view + i * 389 % kPages * kPage); });
  ::sigaction(SIGSEGV, &before, nullptr);
  ::munmap(view, kBytes);
  ::munmap(service, kBytes);
  ::close(file);
  return each;
}

double own_fault_us() {
  if (node().engine->name() == std::string("sigsegv")) return own_protection_fault_us(nullptr);
  Bare bare(kPages * kPage);
  bare.arm(Bare::What::kCopyMapRead);
  const double each = median_us(0, kPages, [&](std::size_t i) { touch_byte(bare.view() + i * 389 % kPages * kPage); });
  bare.disarm();
  return each;
}

// The same chains as those of borrows and misses, by the verbs alone.
void measure_chains(Figures& out) {
  BareChain bare("", kLarge);
  const auto each = [&](std::initializer_list<std::uint32_t> sizes, std::size_t times) {
    return median_us(0, times, [&](std::size_t) { bare.run({sizes.begin(), sizes.size()}); });
  };
  each({64}, 100);
  out.add("one READ of 64 bytes by the verbs alone", each({64}, 1000), "us");
  out.add(kSmallChain, each({64, 8}, 1000), "us");
  out.add("READs of 8, 64 and 8 bytes, one chain, by the verbs alone", each({8, 64, 8}, 1000), "us");
  out.add(kMissChain, each({BareChain::kFetchAdd, kPage}, 1000), "us");
  out.add(kBareMiss, own_protection_fault_us(&bare), "us");
  out.add(kLargeChain, static_cast<double>(kLarge) / each({kLarge, 8}, 16), "MB/s");
}

void run_part(Figures& out) {
  auto* const home = reinterpret_cast<Home*>(shared_block("home", sizeof(Home) + kPage, 1));
  std::byte* const pages = shared_block("pages", 2 * kPages * kPage, 1);
  std::byte* const scratch = shared_block("scratch", kPage, 1);
  if (dsm::node() == 1) return be_home(*home, pages);
  meet();
  measure_bare(out, scratch);
  measure_objects(out, open_small(*home, 0), "");
  measure_pages(out, pages, 0, "");
  measure_large(out, *home);
  measure_chains(out);
  // The first use of memory needs its home once, and so do pages that it has: these are known, and free.
  for (std::size_t i = kPages; i < 2 * kPages; ++i) touch_byte(pages + i * kPage);
  dsm::release(pages + kPages * kPage, kPages * kPage);
  Owners small = open_small(*home, kObjects);
  const auto pid = static_cast<pid_t>(home->pid);
  ::kill(pid, SIGSTOP);
  measure_objects(out, std::move(small), ", home stopped");
  measure_pages(out, pages, kPages, ", home stopped");
  ::kill(pid, SIGCONT);
  out.add("this machine's fault path with a copy", own_fault_us(), "us");
  meet();
}

// --- the driver ------------------------------------------------------------------------------------------------------

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
      rows.push_back(row);
      beside(median(ours[kSmallChain]), "the same chain by the verbs alone", Goal::kRatioAtMost, 1.1);
    }
    if (row.name.starts_with("page miss")) {
      beside(read_page + fault, "ib_read_lat 4 KiB + the fault path", Goal::kRatioAtMost, 1.1);
      rows.push_back(row);
      beside(median(ours[kBareMiss]), "a handler with that chain and no more", Goal::kRatioAtMost, 1.1);
    }
    if (row.name.starts_with("read of 1 MiB")) {
      const bool goes = row.name == "read of 1 MiB";
      beside(median(peers["ib_read_bw"]), "ib_read_bw", goes ? Goal::kRatioAtLeast : Goal::kNone, goes ? 0.9 : 0);
      if (goes) {
        rows.push_back(row);
        beside(median(ours[kLargeChain]), "the same chain by the verbs alone", Goal::kRatioAtLeast, 0.9);
      }
    }
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
    const auto rows = run_for_rows(fmt::format(
        "DSM_TRANSPORT=verbs DSM_READAHEAD=0 DSM_OBJECT_CACHE=8M '{0}/dsmrun' -n 2 --slice 256M --interleaved 64M -- "
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
  JobRequest request;
  int rounds = 3;
  std::string device = "-x 1";
  dsm::support::CommandLine app("libdsm over RDMA verbs beside perftest, in turns, in one run.");
  declare(app, request, "one round, shorter");
  app.option("--rounds", rounds, "how often libdsm and perftest take turns").positive();
  app.option("--perftest", device, "options of perftest's programs that name the device (\"-d rxe0 -x 1\")");
  if (const auto status = app.parse(argc, argv)) return *status;
  if (request.part.empty()) return drive(request.quick ? 1 : rounds, request.quick, request.json, device);
  if (dsm::start()) return 69;
  Figures figures;
  run_part(figures);
  meet();
  return dsm::node() != 0 || write_rows(request.rows_file, figures.rows) ? 0 : 74;
}

}  // namespace
}  // namespace dsm::bench

int main(int argc, char** argv) { return dsm::bench::run(argc, argv); }
