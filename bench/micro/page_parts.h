// The parts of bench_page: each runs on every node of a job of its own; node 0 measures and reports.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/micro/bench_job.h"

namespace dsm::bench {

// What a part is told and where it reports.
struct Context {
  bool quick = false;
  std::string suffix;  // put behind row names: under which conditions
  std::vector<Row> rows;

  void report(std::string name, double value, std::string unit, std::optional<double> peer = {},
              std::string peer_name = {}, Goal goal = Goal::kNone, double bound = 0);
};

struct Part {
  std::string name;
  unsigned nodes;  // 0: a process of its own, without dsmrun
  std::string dsmrun_options;
  bool awake;  // runs with the CPUs kept awake, else with idle CPUs halted
  void (*run)(Context&);
};
const std::vector<Part>& parts();

void faults(Context&);  // part_faults.cpp
void upgrades(Context&);
void home_cpu(Context&);
void bulk(Context&);  // part_bulk.cpp
void sparse_bytes(Context&);
void in_turns(Context&);
void busy_home(Context&);
void alternation(Context&);  // part_contention.cpp
void counter(Context&);
void locks(Context&);
void barriers(Context&);
void barrier_and_cache(Context&);
void heap_ours(Context&);  // part_heap.cpp
void heap_plain(Context&);
void system_calls(Context&);

// --- for the parts --------------------------------------------------------------------------------------------------

inline double us_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

// 0, 1, ... n-1 in a random order that is the same every time.
std::vector<std::size_t> shuffled(std::size_t n, unsigned seed);
// Touches each page once, in the given order; microseconds each.
enum class Touch { kRead, kWrite };
void touch_each(std::byte* block, const std::vector<std::size_t>& order, Touch touch, std::vector<double>& times);

}  // namespace dsm::bench
