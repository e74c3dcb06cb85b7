#include "tests/litmus/runner.h"

#include <fmt/core.h>
#include <x86intrin.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>

namespace litmus {

namespace {

constexpr std::uint64_t kLead = 60'000;  // ticks from the set-up to the first instance: about what a barrier takes
constexpr unsigned kSlots[] = {0, 200, 600, 2'000};
constexpr std::uint64_t kGateLead = 2'000, kGatePatience = 1'000'000;  // ticks

std::uint64_t value_of(const Ground& ground, unsigned variable, unsigned instance, bool hinted) {
  Cell* const cell = ground.cell(variable, instance);
  const unsigned word = ground.word[variable];
  if (hinted) return dsm::borrow_shared(cell)->words[word];
  return std::atomic_ref(cell->words[word]).load(std::memory_order_relaxed);
}

void clear(const Ground& ground, unsigned variable, unsigned instance, bool hinted) {
  Cell* const cell = ground.cell(variable, instance);
  const unsigned word = ground.word[variable];
  if (hinted) {
    dsm::borrow_mut(cell)->words[word] = 0;
  } else {
    std::atomic_ref(cell->words[word]).store(0, std::memory_order_relaxed);
  }
}

// Roles that have a scope of several accesses; only borrows have such.
unsigned scoped_roles(const Program& program) {
  unsigned roles = 0;
  for (unsigned role = 0; role < program.roles.size(); ++role) {
    for (const Op& op : program.roles[role]) roles |= unsigned{op.more} << role;
  }
  return roles;
}

}  // namespace

Board* build(const Options& options) {
  const unsigned workers = dsm::nodes() * options.threads;
  void* const memory = dsm::alloc(sizeof(Board), alignof(Board));
  auto* const board = ::new (memory) Board(workers);
  for (unsigned i = 0; i < workers; ++i) {
    board->results[i] = static_cast<Results*>(dsm::alloc(sizeof(Results), 4096, dsm::on_node(i / options.threads)));
  }
  board->counts = dsm::make<Counts>();
  for (auto& of_mode : board->grounds) {
    for (unsigned place = 0; place < 4; ++place) {
      of_mode[place] = lay_out(static_cast<Placement>(place), options.instances);
    }
  }
  return board;
}

std::uint64_t Gate::pass(std::uint64_t all) {
  if (arrived.fetch_add(1) + 1 == all) {
    begin = __rdtsc() + kGateLead;
    opened = all;
    return begin;
  }
  const std::uint64_t limit = __rdtsc() + kGatePatience;
  while (opened < all) {
    if (__rdtsc() > limit) return 0;
    _mm_pause();
  }
  return begin;
}

Worker::Worker(Board& board, Gate& gate, const Options& options, unsigned index)
    : board_(board),
      gate_(gate),
      options_(options),
      index_(index),
      workers_(dsm::nodes() * options.threads),
      counts_(std::make_unique<Counts>()) {}

Plan Worker::plan(const Program& program, Mode mode, unsigned roles, std::uint64_t round_seed) const {
  std::mt19937_64 random(round_seed);
  std::vector<unsigned> order(workers_);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  // Every third round keeps the roles together: threads of one node, as far as it has enough of them.
  if (random() % 3 == 0) std::sort(order.begin(), order.end());
  Plan plan;
  std::copy_n(order.begin(), roles, plan.worker.begin());
  std::shuffle(plan.worker.begin(), plan.worker.begin() + roles, random);
  const unsigned all = (1U << roles) - 1;
  plan.hinted = mode == Mode::kRaw ? 0 : all;
  if (mode == Mode::kMixed) plan.hinted = (static_cast<unsigned>(random()) & all) | scoped_roles(program);
  plan.keeper = static_cast<unsigned>(random() % workers_);
  plan.slot = kSlots[random() % std::size(kSlots)];
  plan.first = static_cast<unsigned>(random() % options_.instances);
  plan.against = random() % 4 == 0;
  plan.keeper_hinted = mode == Mode::kHinted || (mode == Mode::kMixed && random() % 2 == 0);
  return plan;
}

void Worker::set_up(const Program& program, const Ground& ground, const Plan& plan) {
  for (unsigned variable = 0; variable < program.variables; ++variable) {
    for (unsigned i = 0; i < options_.instances; ++i) clear(ground, variable, i, plan.keeper_hinted);
  }
  std::atomic_ref(board_.begin).store(__rdtsc() + kLead, std::memory_order_relaxed);
}

unsigned Worker::nodes_used(const Plan& plan, unsigned roles) const {
  unsigned nodes = 0;
  for (unsigned role = 0; role < roles; ++role) nodes |= 1U << plan.worker[role] / options_.threads;
  return nodes;
}

void Worker::walk(const Program& program, const Ground& ground, const Plan& plan, unsigned role, std::uint64_t seed) {
  const auto& operations = program.roles[role];
  const bool hinted = (plan.hinted >> role & 1) != 0;
  const bool backwards = plan.against && role % 2 == 1;
  std::minstd_rand random(static_cast<unsigned>(seed * 31 + role + 1));
  Results& results = *board_.results[index_];
  const auto roles = static_cast<unsigned>(program.roles.size());
  const bool alone = nodes_used(plan, roles) == 1U << dsm::node();
  const std::uint64_t begin =
      alone ? gate_.pass(gated_) : std::atomic_ref(board_.begin).load(std::memory_order_relaxed);
  for (unsigned i = 0; i < options_.instances; ++i) {
    const unsigned at = plan.first + (backwards ? options_.instances - i : i);
    const unsigned instance = at % options_.instances;
    const std::uint64_t due = begin + std::uint64_t{i} * plan.slot + random() % 64;
    while (__rdtsc() < due) _mm_pause();
    hinted ? run_hinted(operations, ground, instance, results.registers[instance])
           : run_raw(operations, ground, instance, results.registers[instance]);
  }
}

void Worker::judge(const Program& program, const Ground& ground, const Plan& plan) {
  const unsigned nodes = nodes_used(plan, static_cast<unsigned>(program.roles.size()));
  const bool several = (nodes & (nodes - 1)) != 0;
  for (unsigned i = 0; i < options_.instances; ++i) {
    State state;
    for (unsigned role = 0; role < program.roles.size(); ++role) {
      for (const Op& op : program.roles[role]) {
        if (op.kind != OpKind::kLoad && op.kind != OpKind::kAdd) continue;
        state.registers[op.operand] = board_.results[plan.worker[role]]->registers[i][op.operand];
      }
    }
    for (unsigned variable = 0; variable < program.variables; ++variable) {
      state.variables[variable] =
          static_cast<std::uint8_t>(std::min<std::uint64_t>(value_of(ground, variable, i, plan.keeper_hinted), 3));
    }
    const std::uint16_t outcome = pack(state);
    ++(*counts_)[several ? 1 : 0][outcome];
    if (allowed_[plan.hinted].test(outcome)) continue;
    if (++forbidden_ > 3) continue;
    fmt::print(stderr, "litmus: {} ({}) ended with {}, which must not be; roles on {}, hinted roles {:#b}\n",
               program.name, program.text, outcome_text(program, outcome), several ? "several nodes" : "one node",
               plan.hinted);
  }
}

// Adds up what all threads have counted.
Row Worker::collect(Row row) {
  for (std::size_t several = 0; several < 2; ++several) {
    for (std::size_t outcome = 0; outcome < (*counts_)[several].size(); ++outcome) {
      const std::uint64_t count = std::exchange((*counts_)[several][outcome], 0);
      if (count != 0) std::atomic_ref((*board_.counts)[several][outcome]).fetch_add(count);
    }
  }
  std::atomic_ref(board_.forbidden).fetch_add(std::exchange(forbidden_, 0));
  board_.meet.arrive_and_wait();
  const Program& program = *row.program;
  const Outcomes ordered = allowed(program, (1U << program.roles.size()) - 1);
  for (std::size_t outcome = 0; outcome < ordered.size(); ++outcome) {
    const std::uint64_t one = (*board_.counts)[0][outcome], several = (*board_.counts)[1][outcome];
    if (one + several == 0) continue;
    ++row.outcomes_seen;
    row.iterations += one + several;
    if (!ordered.test(outcome)) row.relaxed_one_node += one, row.relaxed_nodes += several;
    if (options_.verbose && index_ == 0) {
      fmt::print("  {:<32}{:>12} on one node{:>12} over nodes{}\n",
                 outcome_text(program, static_cast<std::uint16_t>(outcome)), one, several,
                 ordered.test(outcome) ? "" : "  relaxed");
    }
  }
  row.forbidden = board_.forbidden;
  board_.meet.arrive_and_wait();
  if (index_ == 0) {
    for (auto& counts : *board_.counts) counts.fill(0);
    board_.forbidden = 0;
  }
  board_.meet.arrive_and_wait();
  return row;
}

Row Worker::run(const Program& program, Mode mode, Placement placement, unsigned row_number) {
  const auto roles = static_cast<unsigned>(program.roles.size());
  const Ground ground = board_.grounds[static_cast<std::size_t>(mode)][static_cast<std::size_t>(placement)];
  Outcomes any;
  allowed_.clear();
  for (unsigned hinted = 0; hinted < 1U << roles; ++hinted) {
    allowed_.push_back(allowed(program, hinted));
    const bool happens = mode == Mode::kMixed ? (scoped_roles(program) & ~hinted) == 0
                                              : hinted == (mode == Mode::kRaw ? 0 : (1U << roles) - 1);
    if (happens) any |= allowed_.back();
  }
  const std::uint64_t rounds = (options_.iterations + options_.instances - 1) / options_.instances;
  const auto seed = [&](std::uint64_t round) { return (options_.seed * 1'000 + row_number) * 1'000'003 + round; };
  if (index_ == 0) set_up(program, ground, plan(program, mode, roles, seed(0)));
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const Plan now = plan(program, mode, roles, seed(round));
    board_.meet.arrive_and_wait();
    if (nodes_used(now, roles) == 1U << dsm::node()) gated_ += roles;
    for (unsigned role = 0; role < roles; ++role) {
      if (now.worker[role] == index_) walk(program, ground, now, role, seed(round));
    }
    board_.meet.arrive_and_wait();
    if (now.keeper != index_) continue;
    judge(program, ground, now);
    if (round + 1 < rounds) set_up(program, ground, now);
  }
  board_.meet.arrive_and_wait();
  Row row{&program, mode, placement};
  row.outcomes_allowed = any.count();
  return collect(row);
}

}  // namespace litmus
