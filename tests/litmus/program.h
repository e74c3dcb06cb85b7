// Litmus tests as data: a few threads of a few loads and stores each, written as text and read once.
//
//   x=1 r0=y | y=1 r1=x        two threads; plain store, plain load
//   x:=1                       atomic exchange (seq_cst)
//   r0+=x                      atomic fetch-and-add of 1, the old value in r0
//   F                          full fence
//   {x=1 y=1}                  one scope: a mutable borrow if it stores, else a shared one
//
// All variables begin as 0. An outcome is what the registers and the variables hold at the end.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace litmus {

inline constexpr unsigned kVariables = 3;
inline constexpr unsigned kRegisters = 4;
inline constexpr unsigned kRolesMax = 4;
inline constexpr unsigned kOutcomeBits = 2 * (kRegisters + kVariables);

enum class OpKind : std::uint8_t { kStore, kLoad, kExchange, kAdd, kFence };

struct Op {
  OpKind kind;
  std::uint8_t variable = 0;
  std::uint8_t operand = 0;  // the value of a store or an exchange, the register of a load or an addition
  bool more = false;         // the next one belongs to the same scope
};

struct Program {
  std::string name, text;
  std::vector<std::vector<Op>> roles;  // what each thread does
  unsigned variables = 0;              // how many it uses, x first
  unsigned registers = 0;
  bool scoped = false;  // has scopes of several accesses, which only borrows have
  bool wide = false;    // one of them has several variables, which must be one object then
};

// Two bits each: registers first, then variables. No test stores 3: it stands for whatever should never be there.
struct State {
  std::array<std::uint8_t, kRegisters> registers{};
  std::array<std::uint8_t, kVariables> variables{};
  auto operator<=>(const State&) const = default;
};
std::uint16_t pack(const State& state);
std::string outcome_text(const Program& program, std::uint16_t outcome);

std::span<const Program> all_programs();
Program parse(std::string_view name, std::string_view text);

}  // namespace litmus
