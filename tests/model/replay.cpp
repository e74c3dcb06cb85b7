// modelreplay: follows a simulation of latch.pml (spin -T) with the shipped protocol code. What the model's steps do to
// a node or at the home is done to proto::Page and a latch too; then words, states and messages must be the model's.
//
//   spin -T -n7 -u20000 latch.pml | modelreplay
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "proto/page.h"
#include "tests/sim/text.h"

namespace dsm::model {
namespace {

using proto::Word;

constexpr NodeId kHome = 0;
constexpr unsigned kNodes = 3;

// The model's word: member plain << 9 | owner borrows << 8 | set << 5 | finish << 4 | owner << 2 | mode.
unsigned packed(Word word) {
  const auto set = static_cast<unsigned>(proto::set_of(word));
  if (!proto::is_exclusive(word)) return set << 5 | (proto::is_shared(word) ? 1u : 2u);
  return ((word & proto::kMemberPlain) != 0 ? 512u : 0u) | ((word & proto::kOwnerBorrows) != 0 ? 256u : 0u) | set << 5 |
         ((word & proto::kObjectsFinish) != 0 ? 16u : 0u) | static_cast<unsigned>(proto::owner_of(word, kHome)) << 2;
}

struct Node {
  proto::Page page{};
  proto::Actions chain{};
  bool leave = false;  // an addition that nobody waits for
  std::uint64_t leave_add = 0;
  bool clean = false;  // the page is on its way home, and nobody waits for that
  Word old = 0;
  proto::Latch latch{};
};

class Replay {
 public:
  // Throws a string that says what differs.
  void line(const std::string& text);
  std::uint64_t steps() const { return steps_; }

 private:
  using Numbers = std::vector<unsigned>;
  void event(unsigned node, proto::Event event);
  void end_chain(unsigned node);
  void leave(unsigned node);
  void add(unsigned node);
  void swap(unsigned node);
  void compare_home(const Numbers& model) const;
  void compare_node(const Numbers& model) const;
  void compare_message(const Numbers& model);
  void check_message_told();

  static void expect(bool good, const std::string& what) {
    if (!good) throw what;
  }

  std::array<Node, kNodes> nodes_{};
  proto::Latch home_{};
  std::optional<proto::Actions> to_tell_;  // messages that the model has not told of yet
  std::uint64_t steps_ = 0;
};

void Replay::event(unsigned node, proto::Event event) {
  check_message_told();
  ++steps_;
  Node& at = nodes_.at(node);
  const proto::Actions todo = proto::step(at.page, {static_cast<NodeId>(node), kHome, true}, event);
  if (todo.has_chain() && todo.expects_done) at.chain = todo;
  if (todo.has_chain() && !todo.expects_done) {
    expect(!todo.swap && !todo.read_latch && !todo.read_page, "a chain without end looks or swaps");
    expect(!at.leave || todo.waiters_add == 0, "two additions that nobody waits for");
    expect(!at.clean || !todo.write_page, "two pages that nobody waits for");
    if (todo.waiters_add != 0) at.leave_add = todo.waiters_add;
    at.leave = at.leave || todo.waiters_add != 0;
    at.clean = at.clean || todo.write_page;
  }
  if (todo.send_to != 0) to_tell_ = todo;
}

void Replay::check_message_told() {
  if (to_tell_) throw fmt::format("the code sends to {}, the model does not", sim::set_text(to_tell_->send_to));
}

void Replay::end_chain(unsigned node) {
  Node& at = nodes_.at(node);
  expect(at.chain.expects_done && !at.chain.has_chain(), "the model's chain has ended, the code's has not");
  at.chain = {};
  event(node, {.kind = proto::EventKind::kDone, .old = at.old, .latch = at.latch});
}

// The model takes the node's own bit away in a step of its own; the code may do it within the chain that follows.
void Replay::leave(unsigned node) {
  Node& at = nodes_.at(node);
  const std::uint64_t own = ~node_bit(static_cast<NodeId>(node)) + 1;
  if (at.leave) {
    expect(at.leave_add == own, "the code takes other bits away than the node's own");
    at.leave = false;
  } else {
    expect(at.chain.waiters_add != 0, "the model leaves the waiters, the code does not");
    at.chain.waiters_add -= own;
  }
  home_.waiters += own;
}

void Replay::add(unsigned node) {
  Node& at = nodes_.at(node);
  home_.waiters += at.chain.waiters_add;
  at.chain.waiters_add = 0;
  at.chain.write_page = false;
}

void Replay::swap(unsigned node) {
  Node& at = nodes_.at(node);
  expect(at.chain.swap && at.chain.waiters_add == 0, "the model swaps, the code does not yet");
  at.old = home_.word;
  if (at.old == at.chain.expected) home_.word = at.chain.desired;
  at.chain.swap = false;
}

void Replay::compare_home(const Numbers& model) const {
  expect(model.size() == 2 && packed(home_.word) == model[0] && home_.waiters == model[1],
         fmt::format("at home the code has {} ({}), waiters {}", packed(home_.word), sim::word_text(home_.word, kHome),
                     home_.waiters));
}

void Replay::compare_node(const Numbers& model) const {
  const proto::Page& page = nodes_.at(model.at(0)).page;
  const Numbers code = {model[0],
                        static_cast<unsigned>(page.access),
                        static_cast<unsigned>(page.want),
                        static_cast<unsigned>(page.phase),
                        page.fresh,
                        page.look_asked,
                        page.enlisted,
                        page.fetched,
                        page.migratory,
                        page.keeps,
                        packed(page.seen),
                        static_cast<unsigned>(NodeSet{page.readers}),
                        static_cast<unsigned>(NodeSet{page.borrowers})};
  if (code == model) return;
  throw fmt::format("the code has {} [{}]", fmt::join(code, " "),
                    sim::page_text(page, {static_cast<NodeId>(model[0]), kHome, true}));
}

void Replay::compare_message(const Numbers& model) {
  expect(to_tell_.has_value(), "the model sends, the code does not");
  const Numbers code = {model.at(0),
                        static_cast<unsigned>(to_tell_->send_to),
                        static_cast<unsigned>(to_tell_->send_kind),
                        static_cast<unsigned>(to_tell_->send_want),
                        static_cast<unsigned>(to_tell_->send_readers),
                        static_cast<unsigned>(to_tell_->send_borrowers)};
  expect(code == model, fmt::format("the code sends {}", fmt::join(code, " ")));
  to_tell_.reset();
}

void Replay::line(const std::string& text) {
  std::istringstream words(text);
  std::string what;
  Numbers n;
  words >> what;
  for (unsigned number = 0; words >> number;) n.push_back(number);
  const auto simple = [&](proto::EventKind kind, Access access) { event(n.at(0), {.kind = kind, .access = access}); };
  if (what == "FAULT")
    return event(n.at(0), {.kind = proto::EventKind::kFault, .access = static_cast<Access>(n.at(1))});
  if (what == "AHEAD")
    return event(n.at(0), {.kind = proto::EventKind::kAhead, .access = static_cast<Access>(n.at(1))});
  if (what == "USED") return event(n.at(0), {.kind = proto::EventKind::kUsed, .keeps = n.at(1) != 0});
  if (what == "RELEASE") return simple(proto::EventKind::kRelease, Access::kNone);
  if (what == "KEEP") return simple(proto::EventKind::kRelease, Access::kRead);
  if (what == "CLEAN") return simple(proto::EventKind::kClean, Access::kNone);
  if (what == "MAIL") {
    proto::Event mail{.kind = proto::EventKind::kMessage, .node = static_cast<NodeId>(n.at(1))};
    mail.message = {.kind = static_cast<proto::MessageKind>(n.at(2)),
                    .want = static_cast<Access>(n.at(3)),
                    .reserved = 0,
                    .count = 1,
                    .first = 0,
                    .readers = n.at(4),
                    .borrowers = n.at(5)};
    return event(n[0], mail);
  }
  if (what == "DONE") return end_chain(n.at(0));
  if (what == "LEAVE") return leave(n.at(0));
  if (what == "CLEANED") {
    expect(std::exchange(nodes_.at(n.at(0)).clean, false), "the model writes the page home, the code does not");
    return;
  }
  if (what == "ADD") return add(n.at(0));
  if (what == "SWAP") return swap(n.at(0));
  if (what == "LATCH") {
    nodes_.at(n.at(0)).latch = home_;
    nodes_[n[0]].chain.read_latch = false;
    return;
  }
  if (what == "PAGE") {
    expect(nodes_.at(n.at(0)).chain.read_page, "the model reads the page, the code does not");
    nodes_[n[0]].chain.read_page = false;
    return;
  }
  if (what == "HOME") return compare_home(n);
  if (what == "NODE") return compare_node(n);
  if (what == "MSG") return compare_message(n);
}

int run() {
  Replay replay;
  std::vector<std::string> lines;
  for (std::string text; std::getline(std::cin, text);) {
    lines.push_back(text);
    try {
      replay.line(text);
    } catch (const std::string& difference) {
      const std::size_t first = lines.size() > 40 ? lines.size() - 40 : 0;
      for (std::size_t i = first; i < lines.size(); ++i) fmt::print("{:6} {}\n", i + 1, lines[i]);
      fmt::print("modelreplay: model and code differ in the last line: {}\n", difference);
      return 1;
    }
  }
  fmt::print("modelreplay: {} steps, model and code agree\n", replay.steps());
  return replay.steps() > 0 ? 0 : 1;
}

}  // namespace
}  // namespace dsm::model

int main(int argc, char**) {
  if (argc == 1) return dsm::model::run();
  fmt::print(stderr, "usage: modelreplay < STEPS, as tests/model/check.py replay has them printed\n");
  return 64;
}
