#include "bench/apps/frame/job.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <thread>
#include <vector>

#include "bench/apps/frame/counters.h"
#include "bench/apps/frame/perf.h"
#include "support/command_line.h"

namespace app {

struct alignas(kPageBytes) Job::Record {
  double seconds;
  std::uint64_t work;
  Counters counters;  // of the measured part
  Latencies latencies;
  PerfCounts perf;
  bool failed;
  char sentence[512];
};

struct Job::Shared {
  explicit Shared(unsigned nodes, unsigned workers) : by_node(nodes), by_worker(workers) {}
  dsm::barrier by_node;
  dsm::barrier by_worker;
  bool good = true;  // node 0's verdict
};

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void add_options(dsm::support::CommandLine& cli, Options& options) {
  cli.option("-t,--threads", options.threads, "threads of each node that do the work")
      .or_environment("DSM_THREADS")
      .range(1, 1024)
      .show_default();
  cli.option("--seed", options.seed, "seed of the random input").show_default();
  cli.option("--json", options.json, "file for the result as one JSON object, written by node 0");
}

namespace {

using Modes = std::map<std::string, Mode>;

const Modes& modes() {
  static const Modes all{{"native", Mode::kNative},
                         {"page", Mode::kPage},
                         {"hinted", Mode::kHinted},
                         {"owned", Mode::kOwned},
                         {"message", Mode::kMessage}};
  return all;
}

}  // namespace

const char* name_of(Mode mode) {
  for (const auto& [name, value] : modes()) {
    if (value == mode) return name.c_str();
  }
  return "unknown";
}

void add_modes(dsm::support::CommandLine& cli, Options& options, bool with_messages) {
  std::vector<std::string> known;
  for (const auto& [name, mode] : modes()) {
    if (mode != Mode::kMessage || with_messages) known.push_back(name);
  }
  cli.call(
         "-m,--mode", [&options](const std::string& name) { options.mode = modes().at(name); },
         "native: threads of one process and plain memory; page: plain pointers into the global heap;\n"
         "hinted: borrows of plain pointers; owned: dsm::own_ptr; message: no shared memory (default: page)")
      .one_of(known);
  cli.option("--as-nodes", options.as_nodes, "native mode: runs the workers that so many nodes would run")
      .range(1, 48)
      .show_default();
}

Job::Job(std::string name, const Options& options) : name_(std::move(name)), options_(options) {
  if (native()) {
    if (std::getenv("DSM_CONTROL_FD") != nullptr) die("native mode is one process: start it without dsmrun.");
    threads_meet_ = std::make_unique<std::barrier<>>(workers());
    records_ = shared<Record>(1);
  } else {
    join();
  }
  latencies_.resize(own_workers());
}

void Job::join() {
  if (dsm::start()) std::_Exit(1);  // start has printed the reason
  records_ = shared<Record>(nodes());
  const std::string root = name_ + ".shared";
  if (node() == 0) {
    shared_ = dsm::make<Shared>(nodes(), workers());
    need(shared_, sizeof(Shared));
    if (const auto error = dsm::publish(root, shared_)) die(fmt::format("publish failed: {}.", error.message()));
  } else {
    shared_ = static_cast<Shared*>(dsm::lookup(root));
  }
}

void Job::sync_workers() { native() ? threads_meet_->arrive_and_wait() : shared_->by_worker.arrive_and_wait(); }
void Job::sync_nodes() {
  if (!native()) shared_->by_node.arrive_and_wait();
}

void Job::measure(std::string unit, const Body& body) {
  struct Span {
    double start, end, all_end;
    std::uint64_t work;
  };
  unit_ = std::move(unit);
  std::vector<Span> spans(own_workers());
  Counters before{}, after{};
  const Perf perf;
  std::vector<std::thread> running;
  for (unsigned thread = 0; thread < own_workers(); ++thread) {
    running.emplace_back([&, thread] {
      Span& span = spans[thread];
      sync_workers();
      if (thread == 0) before = native() ? native_counters_now() : counters_now();
      sync_workers();
      span.start = now_seconds();
      span.work = body({first_worker() + thread, thread});
      span.end = now_seconds();
      sync_workers();
      span.all_end = now_seconds();
      if (thread == 0) after = native() ? native_counters_now() : counters_now();
    });
  }
  for (std::thread& thread : running) thread.join();

  double start = spans[0].start;
  double end = spans[0].end;
  double all_end = spans[0].all_end;
  Record& record = records_[node()];
  for (const Span& span : spans) {
    start = std::min(start, span.start);
    end = std::max(end, span.end);
    all_end = std::max(all_end, span.all_end);
    record.work += span.work;
  }
  record.perf = perf.stop();
  for (const Latencies& latencies : latencies_) record.latencies.merge(latencies);
  record.seconds = end - start;
  for (std::size_t i = 0; i < kCounters; ++i) record.counters[i] = after[i] - before[i];
  seconds_ = all_end - start;
}

void Job::fail(const std::string& sentence) {
  const std::lock_guard lock{failing_};
  Record& record = records_[node()];
  if (record.failed) return;
  record.failed = true;
  const std::size_t length = std::min(sentence.size(), sizeof(record.sentence) - 1);
  std::memcpy(record.sentence, sentence.data(), length);
  record.sentence[length] = '\0';
}

void Job::die(const std::string& sentence) const {
  std::fprintf(stderr, "%s: %s\n", name_.c_str(), sentence.c_str());
  std::fflush(nullptr);
  std::_Exit(1);
}

// Untouched, as what dsm::alloc gives for large blocks: the first touch costs the same in all modes.
void* Job::plain(std::size_t bytes) {
  void* const block = ::mmap(nullptr, whole_pages(std::max<std::size_t>(bytes, 1)), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return block == MAP_FAILED ? nullptr : block;
}

void* Job::need(void* block, std::size_t bytes) const {
  if (block != nullptr) return block;
  die(fmt::format("global memory is used up: {} bytes were not to be had. Take a smaller input or a larger heap.",
                  bytes));
}

int Job::finish(const Report& report) {
  sync_nodes();
  if (node() == 0) {
    bool good = true;
    for (unsigned n = 0; n < processes(); ++n) {
      if (!records_[n].failed) continue;
      good = false;
      std::fprintf(stderr, "%s: the result is wrong (found by node %u): %s\n", name_.c_str(), n, records_[n].sentence);
    }
    print(report, good);
    if (!options_.json.empty()) write_json(report, good);
    if (native()) return good ? 0 : 1;
    shared_->good = good;
  }
  sync_nodes();
  return shared_->good ? 0 : 1;
}

namespace {

std::string as_text(const nlohmann::ordered_json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

double rate(double work, double seconds) { return seconds > 0 ? work / seconds : 0; }

}  // namespace

void Job::print(const Report& report, bool good) const {
  std::string text =
      fmt::format("{}: mode {}, nodes {}, threads {}", name_, name_of(options_.mode), nodes(), threads());
  for (const auto& [key, value] : report.parameters.items()) text += fmt::format(", {} {}", key, as_text(value));
  text += fmt::format("\n{:>6} {:>10} {:>16} {:>16}\n", "node", "seconds", unit_, unit_ + "/s");
  const std::string row = "{:>6} {:>10.4f} {:>16} {:>16.0f}\n";
  std::uint64_t all = 0;
  for (unsigned n = 0; n < processes(); ++n) {
    const Record& record = records_[n];
    text += fmt::format(fmt::runtime(row), n, record.seconds, record.work,
                        rate(static_cast<double>(record.work), record.seconds));
    all += record.work;
  }
  text += fmt::format(fmt::runtime(row), "all", seconds_, all, rate(static_cast<double>(all), seconds_));
  for (const auto& [key, value] : report.results.items()) {
    if (!value.is_structured()) text += fmt::format("{}: {}\n", key, as_text(value));
  }
  if (report.reference_seconds > 0) {
    text += fmt::format("the same in one thread and plain memory: {:.4f} s\n", report.reference_seconds);
  }
  text += fmt::format("checksum {:016x}  {}\n", report.checksum, good ? "ok" : "WRONG");
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

void Job::write_json(const Report& report, bool good) const {
  nlohmann::ordered_json object;
  object["app"] = name_;
  object["mode"] = name_of(options_.mode);
  object["nodes"] = nodes();
  object["threads"] = threads();
  object["seed"] = options_.seed;
  object["parameters"] = report.parameters;
  object["seconds"] = seconds_;
  object["unit"] = unit_;
  std::uint64_t all = 0;
  Counters sum{};
  Latencies latencies;
  PerfCounts perf{};
  auto per_node = nlohmann::ordered_json::array();
  for (unsigned n = 0; n < processes(); ++n) {
    const Record& record = records_[n];
    per_node.push_back({{"node", n},
                        {"seconds", record.seconds},
                        {"work", record.work},
                        {"per_second", rate(static_cast<double>(record.work), record.seconds)}});
    all += record.work;
    latencies.merge(record.latencies);
    for (std::size_t i = 0; i < kPerfEvents; ++i) {
      perf[i] = perf[i] == kNotCounted || record.perf[i] == kNotCounted ? kNotCounted : perf[i] + record.perf[i];
    }
    for (std::size_t i = 0; i < kCounters; ++i) sum[i] += record.counters[i];
  }
  object["work"] = all;
  object["per_second"] = rate(static_cast<double>(all), seconds_);
  object["per_node"] = std::move(per_node);
  for (std::size_t i = 0; i < kCounters; ++i) object["counters"][kCounterNames[i]] = sum[i];
  object["least_bytes"] = report.least_bytes;
  for (std::size_t i = 0; i < kPerfEvents; ++i) {
    if (perf[i] != kNotCounted) object["perf"][kPerfNames[i]] = perf[i];
  }
  constexpr std::array<std::pair<const char*, double>, 5> kQuantiles{
      {{"p10", 0.1}, {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}}};
  for (const auto& [name, part] : kQuantiles) {
    object["latency_ns"][name] = std::round(latencies.quantile(part));
  }
  if (report.reference_seconds > 0) object["reference_seconds"] = report.reference_seconds;
  object["results"] = report.results;
  object["checksum"] = fmt::format("{:016x}", report.checksum);
  object["ok"] = good;
  std::ofstream file{options_.json};
  file << object.dump(2) << '\n';
  file.flush();
  if (!file) die(fmt::format("cannot write {}: {}.", options_.json, std::strerror(errno)));
}

}  // namespace app
