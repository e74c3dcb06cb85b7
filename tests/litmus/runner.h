// Runs litmus tests on real processes, in rounds: many instances of a test lie side by side, each thread walks over all
// of them at times that the processor's time-stamp counter gives (so that threads meet, with no messages among them),
// then one thread compares what came out with what may come out.
//
// Threads of one node pass a gate of their process first, or they would be done before the next one has woken.
//
// 1. All threads of all nodes take every step together: they compute the same Plan from the seed.
// 2. Between the round's two barriers a cell is used only as its mode says; outside, by the round's keeper alone.
#pragma once

#include <dsm/dsm.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "tests/litmus/model.h"
#include "tests/litmus/table.h"

namespace litmus {

inline constexpr unsigned kInstancesMax = 1024;
inline constexpr unsigned kWorkersMax = 64;
using Counts = std::array<std::array<std::uint64_t, std::size_t{1} << kOutcomeBits>, 2>;  // [over several nodes]

struct Options {
  std::uint64_t iterations = 10'000;
  unsigned instances = 128;
  unsigned threads = 2;  // of each node
  std::uint64_t seed = 1;
  bool verbose = false;
};

// In the global heap.
struct Results {
  std::uint8_t registers[kInstancesMax][kRegisters];
};
struct Board {
  dsm::barrier meet;
  Results* results[kWorkersMax]{};
  Counts* counts = nullptr;
  Ground grounds[3][4];  // by Mode, Placement
  std::uint64_t forbidden = 0;
  alignas(4096) std::uint64_t begin = 0;  // time-stamp counter at the round's first instance
  explicit Board(unsigned parties) : meet(parties) {}
};

Board* build(const Options& options);  // by node 0

// One round, as every thread computes it.
struct Plan {
  std::array<unsigned, kRolesMax> worker{};  // of each role
  unsigned hinted = 0;                       // roles
  unsigned keeper = 0;                       // who checks this round and sets up the next one
  unsigned slot = 0;                         // ticks from one instance to the next
  unsigned first = 0;                        // instance
  bool against = false;                      // half of the roles walk the other way round
  bool keeper_hinted = false;
};

// Of one process: lets the roles of a round start at the same time, if all of them run here.
struct Gate {
  std::atomic<std::uint64_t> arrived{0};  // since the start
  std::atomic<std::uint64_t> opened{0};   // arrivals that were complete when it was opened last
  std::atomic<std::uint64_t> begin{0};

  // Returns the tick of the first instance. `all`: arrivals that make it complete. Waits for a while only: whoever is
  // missing may have no CPU.
  std::uint64_t pass(std::uint64_t all);
};

class Worker {
 public:
  Worker(Board& board, Gate& gate, const Options& options, unsigned index);
  // Returns the row on every thread of every node.
  Row run(const Program& program, Mode mode, Placement placement, unsigned row);

 private:
  Plan plan(const Program& program, Mode mode, unsigned roles, std::uint64_t round_seed) const;
  void set_up(const Program& program, const Ground& ground, const Plan& plan);
  void walk(const Program& program, const Ground& ground, const Plan& plan, unsigned role, std::uint64_t seed);
  unsigned nodes_used(const Plan& plan, unsigned roles) const;  // one bit each
  void judge(const Program& program, const Ground& ground, const Plan& plan);
  Row collect(Row row);

  Board& board_;
  Gate& gate_;
  std::uint64_t gated_ = 0;  // arrivals at the gate that were due so far
  const Options& options_;
  const unsigned index_, workers_;
  std::vector<Outcomes> allowed_;  // by which roles are hinted
  std::unique_ptr<Counts> counts_;
  std::uint64_t forbidden_ = 0;
};

}  // namespace litmus
