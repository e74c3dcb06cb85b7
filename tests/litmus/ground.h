// Where the variables of a litmus test lie in the global heap, and the two ways to get at them: raw, or in borrows.
#pragma once

#include <dsm/dsm.h>
#include <dsm/hints.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "tests/litmus/program.h"

namespace litmus {

enum class Mode : std::uint8_t { kRaw, kHinted, kMixed };
inline constexpr const char* kModes[] = {"raw", "hinted", "mixed"};

enum class Placement : std::uint8_t {
  kObject,  // the variables are words of one object
  kPage,    // objects of one page
  kPages,   // each on a page of its own, all at one home
  kHomes,   // likewise, and each at another home
};
inline constexpr const char* kPlacements[] = {"object", "page", "pages", "homes"};

// What is borrowed: one granule.
struct Cell {
  std::uint64_t words[8];
};
static_assert(sizeof(Cell) == 64);

// The variables of many instances of a test, side by side.
struct Ground {
  std::array<Cell*, kVariables> first{};
  std::array<unsigned, kVariables> word{};
  unsigned stride = 1;  // cells from one instance to the next

  Cell* cell(unsigned variable, unsigned instance) const { return first[variable] + std::size_t{instance} * stride; }
};

// Called by one thread of one node.
inline Ground lay_out(Placement placement, unsigned instances) {
  const auto cells = [](std::size_t count, unsigned home) {
    auto* made = static_cast<Cell*>(dsm::alloc(count * sizeof(Cell), 4096, dsm::on_node(home)));
    return made;
  };
  Ground ground;
  const unsigned last = dsm::nodes() - 1;
  if (placement == Placement::kObject || placement == Placement::kPage) {
    ground.stride = placement == Placement::kObject ? 1 : 4;
    Cell* const all = cells(std::size_t{instances} * ground.stride, last);
    for (unsigned i = 0; i < kVariables; ++i) {
      ground.first[i] = placement == Placement::kObject ? all : all + i;
      ground.word[i] = placement == Placement::kObject ? i : 0;
    }
    return ground;
  }
  for (unsigned i = 0; i < kVariables; ++i) {
    ground.first[i] = cells(instances, placement == Placement::kPages ? last : i % dsm::nodes());
  }
  return ground;
}

// One operation on a word that this thread may use: plain moves, locked instructions and mfence.
inline void perform(const Op& op, std::uint64_t& word, std::uint8_t* registers) {
  const std::atomic_ref<std::uint64_t> variable(word);
  switch (op.kind) {
    case OpKind::kStore:
      variable.store(op.operand, std::memory_order_relaxed);
      break;
    case OpKind::kLoad:
      registers[op.operand] = static_cast<std::uint8_t>(variable.load(std::memory_order_relaxed));
      break;
    case OpKind::kExchange:
      variable.exchange(op.operand);
      break;
    case OpKind::kAdd:
      registers[op.operand] = static_cast<std::uint8_t>(variable.fetch_add(1));
      break;
    case OpKind::kFence:
      break;
  }
  asm volatile("" ::: "memory");  // the compiler keeps the program's order
}

inline void fence() { asm volatile("mfence" ::: "memory"); }

inline void run_raw(const std::vector<Op>& role, const Ground& ground, unsigned instance, std::uint8_t* registers) {
  for (const Op& op : role) {
    if (op.kind == OpKind::kFence) {
      fence();
    } else {
      perform(op, ground.cell(op.variable, instance)->words[ground.word[op.variable]], registers);
    }
  }
}

// The scope that begins at `at`; returns where it ends.
inline std::size_t run_scope(const std::vector<Op>& role, std::size_t at, const Ground& ground, unsigned instance,
                             std::uint8_t* registers) {
  std::size_t end = at;
  bool stores = false;
  do {
    stores |= role[end].kind != OpKind::kLoad;
  } while (role[end++].more);
  Cell* const cell = ground.cell(role[at].variable, instance);
  const auto word = [&](const Op& op) { return ground.word[op.variable]; };
  if (stores) {
    const auto held = dsm::borrow_mut(cell);
    for (; at < end; ++at) perform(role[at], held->words[word(role[at])], registers);
  } else {
    const auto seen = dsm::borrow_shared(cell);
    for (; at < end; ++at) registers[role[at].operand] = static_cast<std::uint8_t>(seen->words[word(role[at])]);
  }
  return end;
}

inline void run_hinted(const std::vector<Op>& role, const Ground& ground, unsigned instance, std::uint8_t* registers) {
  for (std::size_t at = 0; at < role.size();) {
    if (role[at].kind == OpKind::kFence) {
      fence();
      ++at;
    } else {
      at = run_scope(role, at, ground, instance, registers);
    }
  }
}

}  // namespace litmus
