#include "tests/litmus/program.h"

#include <fmt/core.h>

#include <algorithm>
#include <sstream>

#include "base/check.h"

namespace litmus {

namespace {

struct Line {
  const char* name;
  const char* text;
};

constexpr Line kTable[] = {
    {"SB", "x=1 r0=y | y=1 r1=x"},
    {"SB+fence+po", "x=1 F r0=y | y=1 r1=x"},
    {"SB+fences", "x=1 F r0=y | y=1 F r1=x"},
    {"SB+atomics", "x:=1 r0=y | y:=1 r1=x"},
    {"MP", "x=1 y=1 | r0=y r1=x"},
    {"MP+fences", "x=1 F y=1 | r0=y F r1=x"},
    {"MP+atomics", "x:=1 y:=1 | r0=y r1=x"},
    {"LB", "r0=x y=1 | r1=y x=1"},
    {"LB+atomics", "r0=x y:=1 | r1=y x:=1"},
    {"S", "x=2 y=1 | r0=y x=1"},
    {"S+fences", "x=2 F y=1 | r0=y F x=1"},
    {"R", "x=1 y=1 | y=2 r0=x"},
    {"R+fences", "x=1 F y=1 | y=2 F r0=x"},
    {"R+atomics", "x:=1 y:=1 | y:=2 r0=x"},
    {"2+2W", "x=1 y=2 | y=1 x=2"},
    {"2+2W+fences", "x=1 F y=2 | y=1 F x=2"},
    {"WRC", "x=1 | r0=x y=1 | r1=y r2=x"},
    {"WRC+atomics", "x:=1 | r0=x y:=1 | r1=y r2=x"},
    {"RWC", "x=1 | r0=x r1=y | y=1 r2=x"},
    {"RWC+fences", "x=1 | r0=x F r1=y | y=1 F r2=x"},
    {"ISA2", "x=1 y=1 | r0=y z=1 | r1=z r2=x"},
    {"IRIW", "x=1 | y=1 | r0=x r1=y | r2=y r3=x"},
    {"IRIW+fences", "x=1 | y=1 | r0=x F r1=y | r2=y F r3=x"},
    {"CoRR", "x=1 | r0=x r1=x"},
    {"CoRR2", "x=1 | x=2 | r0=x r1=x | r2=x r3=x"},
    {"CoWW", "x=1 x=2 | r0=x r1=x"},
    {"CoRW", "r0=x x=1 | x=2"},
    {"CoWR", "x=1 r0=x | x=2 r1=x"},
    {"ADD", "r0+=x | r1+=x"},
    {"ADD+MP", "x=1 r0+=y | r1=y r2=x"},
    {"WHOLE", "{x=1 y=1 z=1} | {r0=x r1=y r2=z}"},
    {"WHOLE2", "{x=1 y=1} | {y=2 x=2} | {r0=x r1=y}"},
    {"EXCLUDE", "{r0=x x=1} | {r1=x x=2}"},
    {"MIDDLE", "{x=1 x=2} | r0=x r1=x"},
};

Op parse_op(std::string_view word) {
  if (word == "F") return {OpKind::kFence};
  const auto variable = [](char letter) { return static_cast<std::uint8_t>(letter - 'x'); };
  const auto digit = [](char letter) { return static_cast<std::uint8_t>(letter - '0'); };
  const bool reads = word.front() == 'r';
  const std::size_t name = reads ? 2 : 1;
  const bool plain = word.at(name) == '=';
  DSM_CHECK(plain || word.at(name + 1) == '=', "a litmus test has a word that is no operation");
  const char last = word.back();
  if (reads) return {plain ? OpKind::kLoad : OpKind::kAdd, variable(last), digit(word[1])};
  return {plain ? OpKind::kStore : OpKind::kExchange, variable(word.front()), digit(last)};
}

// Scopes: all but the last operation of one are marked.
void add_word(Program& program, std::string word, bool& inside) {
  if (word == "|") {
    program.roles.emplace_back();
    return;
  }
  if (word.front() == '{') {
    inside = true;
    program.scoped = true;
    word.erase(0, 1);
  }
  if (word.back() == '}') {
    inside = false;
    word.pop_back();
  }
  Op op = parse_op(word);
  op.more = inside;
  const Op* const before = program.roles.back().empty() ? nullptr : &program.roles.back().back();
  if (before != nullptr && before->more && before->variable != op.variable) program.wide = true;
  program.roles.back().push_back(op);
  if (op.kind == OpKind::kFence) return;
  program.variables = std::max(program.variables, op.variable + 1U);
  if (op.kind == OpKind::kLoad || op.kind == OpKind::kAdd) {
    program.registers = std::max(program.registers, op.operand + 1U);
  }
}

}  // namespace

Program parse(std::string_view name, std::string_view text) {
  Program program{std::string(name), std::string(text), {{}}};
  std::istringstream words{program.text};
  bool inside = false;
  for (std::string word; words >> word;) add_word(program, word, inside);
  DSM_CHECK(program.roles.size() <= kRolesMax && program.variables <= kVariables && program.registers <= kRegisters,
            "a litmus test is larger than it may be");
  return program;
}

std::span<const Program> all_programs() {
  static const std::vector<Program> programs = [] {
    std::vector<Program> made;
    for (const auto& [name, text] : kTable) made.push_back(parse(name, text));
    return made;
  }();
  return programs;
}

std::uint16_t pack(const State& state) {
  unsigned packed = 0, shift = 0;
  for (const std::uint8_t value : state.registers) packed |= std::min<unsigned>(value, 3) << 2 * shift++;
  for (const std::uint8_t value : state.variables) packed |= std::min<unsigned>(value, 3) << 2 * shift++;
  return static_cast<std::uint16_t>(packed);
}

std::string outcome_text(const Program& program, std::uint16_t outcome) {
  std::string text;
  const auto value = [&](unsigned index) { return outcome >> 2 * index & 3; };
  for (unsigned i = 0; i < program.registers; ++i) text += fmt::format("r{}={} ", i, value(i));
  for (unsigned i = 0; i < program.variables; ++i) {
    text += fmt::format("{}={} ", static_cast<char>('x' + i), value(kRegisters + i));
  }
  text.pop_back();
  return text;
}

}  // namespace litmus
