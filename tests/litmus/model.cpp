#include "tests/litmus/model.h"

#include <deque>
#include <set>

namespace litmus {

namespace {

struct Pending {
  std::uint8_t variable, value;
  auto operator<=>(const Pending&) const = default;
};

struct Machine {
  State state;
  std::array<std::uint8_t, kRolesMax> next{};  // operation of each role
  std::array<std::deque<Pending>, kRolesMax> buffers;
  auto operator<=>(const Machine&) const = default;
};

class Search {
 public:
  Search(const Program& program, unsigned hinted) : program_(program), hinted_(hinted) {}

  Outcomes run() {
    visit({});
    return found_;
  }

 private:
  void visit(const Machine& machine) {
    if (!seen_.insert(machine).second) return;
    bool ended = true;
    for (unsigned role = 0; role < program_.roles.size(); ++role) {
      if (!machine.buffers[role].empty()) {
        ended = false;
        visit(drained(machine, role));
      }
      if (machine.next[role] == program_.roles[role].size()) continue;
      ended = false;
      Machine after = machine;
      if (step(after, role)) visit(after);
    }
    if (ended) found_.set(pack(machine.state));
  }

  static Machine drained(Machine machine, unsigned role) {
    const Pending oldest = machine.buffers[role].front();
    machine.buffers[role].pop_front();
    machine.state.variables[oldest.variable] = oldest.value;
    return machine;
  }

  // One operation of a raw thread, one whole scope of a hinted one. False if it has to wait for its buffer.
  bool step(Machine& machine, unsigned role) const {
    const bool hinted = (hinted_ >> role & 1) != 0;
    for (;;) {
      const Op& op = program_.roles[role][machine.next[role]++];
      if (!(hinted ? at_once(machine, op) : buffered(machine, role, op))) return false;
      if (!hinted || !op.more) return true;
    }
  }

  static bool at_once(Machine& machine, const Op& op) {
    std::uint8_t& variable = machine.state.variables[op.variable];
    switch (op.kind) {
      case OpKind::kStore:
      case OpKind::kExchange:
        variable = op.operand;
        break;
      case OpKind::kLoad:
        machine.state.registers[op.operand] = variable;
        break;
      case OpKind::kAdd:
        machine.state.registers[op.operand] = variable++;
        break;
      case OpKind::kFence:
        break;
    }
    return true;
  }

  static bool buffered(Machine& machine, unsigned role, const Op& op) {
    auto& buffer = machine.buffers[role];
    if (op.kind == OpKind::kStore) {
      buffer.push_back({op.variable, op.operand});
      return true;
    }
    if (op.kind != OpKind::kLoad) return buffer.empty() && at_once(machine, op);
    for (auto pending = buffer.rbegin(); pending != buffer.rend(); ++pending) {
      if (pending->variable != op.variable) continue;
      machine.state.registers[op.operand] = pending->value;
      return true;
    }
    return at_once(machine, op);
  }

  const Program& program_;
  const unsigned hinted_;
  std::set<Machine> seen_;
  Outcomes found_;
};

}  // namespace

Outcomes allowed(const Program& program, unsigned hinted) { return Search(program, hinted).run(); }

}  // namespace litmus
