// The frame of the example programs: options they have in common, the workers of all nodes (each node runs `threads` of
// them), the measurement, and the report that node 0 prints.
//
//   app::Options options;
//   dsm::support::CommandLine cli("Sorts random keys.");
//   app::add_options(cli, options);
//   if (const auto status = cli.parse(argc, argv)) return *status;
//   app::Job job{"app_sort", options};
//   job.measure("keys", [&](const app::Worker& worker) { ...; return keys_sorted; });
//   if (job.node() == 0 && !good) job.fail("key 7 is larger than key 8");
//   return job.finish(report);
//
// Every node makes the same calls of Job in the same order.
//
// In native mode there is no job: one process with plain memory and a std::barrier runs the workers of --as-nodes
// nodes, so that it does the very operations that so many nodes would do.
#pragma once

#include <dsm/dsm.h>

#include <array>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "bench/apps/frame/latency.h"
#include "support/command_line.h"

namespace app {

inline constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t whole_pages(std::size_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

// How a program uses shared memory. kHinted: borrows of plain pointers (L1); kOwned: owners (L2); kMessage: not at all,
// for the programs that have this baseline.
enum class Mode : std::uint8_t { kNative, kPage, kHinted, kOwned, kMessage };
const char* name_of(Mode mode);

// run() with what the mode works on: the type comes as an argument that says no more.
template <typename Plain, typename Hinted, typename Owned, typename Run>
int in_mode(Mode mode, Run run) {
  switch (mode) {
    case Mode::kNative:
    case Mode::kPage:
      return run(std::type_identity<Plain>{});
    case Mode::kHinted:
      return run(std::type_identity<Hinted>{});
    case Mode::kOwned:
      return run(std::type_identity<Owned>{});
    case Mode::kMessage:
      break;  // the program's own
  }
  return 1;
}

struct Options {
  unsigned threads = 1;
  std::uint64_t seed = 1;
  std::string json;  // a file's name; empty for none
  Mode mode = Mode::kPage;
  unsigned as_nodes = 1;
};
void add_options(dsm::support::CommandLine& cli, Options& options);
// For programs that know the four modes, and perhaps kMessage.
void add_modes(dsm::support::CommandLine& cli, Options& options, bool with_messages = false);

struct Worker {
  unsigned index;   // over all nodes; the workers of a node have consecutive indices
  unsigned thread;  // within the process
};

struct Report {
  nlohmann::ordered_json parameters;  // what was run, by name
  nlohmann::ordered_json results;     // what came out beside the measurement, by name
  std::uint64_t checksum = 0;
  std::uint64_t least_bytes = 0;  // that this distribution had to move between nodes; 0: not known
  double reference_seconds = 0;   // the same work in one thread and plain memory; 0 when it was not measured
};

double now_seconds();

class Job {
 public:
  using Body = std::function<std::uint64_t(const Worker&)>;  // returns the units of work done

  // Joins the job. When that fails it says why and leaves the program.
  Job(std::string name, const Options& options);
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  bool native() const { return options_.mode == Mode::kNative; }
  unsigned node() const { return native() ? 0 : dsm::node(); }
  unsigned nodes() const { return native() ? options_.as_nodes : dsm::nodes(); }
  unsigned threads() const { return options_.threads; }
  unsigned workers() const { return nodes() * threads(); }
  // What this process does: the workers it runs, and the nodes whose memory it is.
  unsigned first_worker() const { return node() * threads(); }
  unsigned own_workers() const { return native() ? workers() : threads(); }
  bool is_own(unsigned node) const { return native() || node == this->node(); }

  // Runs `body` in every worker. The clock starts when all are there and stops when all are done.
  void measure(std::string unit, const Body& body);
  void note_latency(unsigned worker, double seconds) {
    latencies_[worker - first_worker()].add(seconds);
  }                     // of a request
  void sync_workers();  // inside of body, by all workers
  void sync_nodes();    // outside of it, by one thread of every node

  // Zeroed global memory, the same on all nodes; leaves the program when memory is used up.
  template <typename T>
  T* shared(std::size_t count, dsm::placement where = dsm::interleaved) {
    const std::size_t bytes = whole_pages(count * sizeof(T));
    return static_cast<T*>(need(native() ? plain(bytes) : dsm::alloc_collective(bytes, where), bytes));
  }
  // Global memory in whole pages, for the calling node to hand out; leaves the program when memory is used up.
  template <typename T>
  T* pages(std::size_t count, dsm::placement where = dsm::local) {
    const std::size_t bytes = whole_pages(count * sizeof(T));
    return static_cast<T*>(need(native() ? plain(bytes) : dsm::alloc(bytes, kPageBytes, where), bytes));
  }

  // The result is wrong: the job's exit code will be 1. Any thread may call it; a node's first sentence counts.
  void fail(const std::string& sentence);
  // Leaves the program at once. Not std::exit: that would wait for nodes which wait for this one.
  [[noreturn]] void die(const std::string& sentence) const;
  // Node 0 prints the table and writes the JSON object. Returns the exit code, the same on every node.
  int finish(const Report& report);

 private:
  struct Record;  // a node's page in global memory
  struct Shared;

  unsigned processes() const { return native() ? 1 : nodes(); }
  static void* plain(std::size_t bytes);
  void* need(void* block, std::size_t bytes) const;
  void join();
  void print(const Report& report, bool good) const;
  void write_json(const Report& report, bool good) const;

  std::string name_;
  Options options_;
  std::string unit_;
  std::vector<Latencies> latencies_;  // by own worker
  double seconds_ = 0;                // of the measurement as this node saw it
  Shared* shared_ = nullptr;
  Record* records_ = nullptr;                     // one a process
  std::unique_ptr<std::barrier<>> threads_meet_;  // native mode's
  std::mutex failing_;
};

}  // namespace app
