// The parts of bench_object, and what other benches of object mode share with it: each part runs on every node of a job
// of its own; node 0 measures and reports.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/micro/bench_job.h"

namespace dsm::bench {

struct ObjectContext {
  bool quick = false;
  bool emulated = false;  // a link with a latency of its own: goals of what crosses it are for bare shm
  std::vector<Row> rows;

  void report(std::string name, double value, std::string unit, std::optional<double> peer = {},
              std::string peer_name = {}, Goal goal = Goal::kNone, double bound = 0) {
    if (emulated && goal == Goal::kValueAtMost && unit == "ns" && bound > 100) goal = Goal::kNone;
    rows.push_back({std::move(name), value, std::move(unit), peer, std::move(peer_name), goal, bound});
  }
};

struct ObjectPart {
  std::string name;
  unsigned nodes;
  void (*run)(ObjectContext&);
};
// The whole of a bench's main().
int object_bench(const char* name, const char* about, const std::vector<ObjectPart>& parts, int argc, char** argv);

void local_borrows(ObjectContext&);  // part_object_reads.cpp
void remote_reads(ObjectContext&);
void shared_writes(ObjectContext&);  // part_object_writes.cpp
void false_sharing(ObjectContext&);

inline double ns_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}
// The median over `batches` of what one of `count` calls of act(i) takes in a batch, in nanoseconds.
template <typename Act>
double each_ns(int batches, std::size_t count, Act act) {
  std::vector<double> times;
  for (int batch = 0; batch < batches; ++batch) {
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < count; ++i) act(i);
    times.push_back(ns_since(begin) / static_cast<double>(count));
  }
  return median(times);
}

struct Object {
  std::uint64_t words[8];
};
static_assert(sizeof(Object) == 64);

}  // namespace dsm::bench
