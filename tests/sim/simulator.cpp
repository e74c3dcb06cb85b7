// The run: set-up, the loop, and what must hold at its end.
#include "tests/sim/simulator.h"

#include <algorithm>
#include <bit>
#include <cstdio>

namespace dsm::sim {
namespace {

unsigned actor_count(const Options& options) {
  const unsigned nodes = options.nodes;
  return nodes * options.threads + 3 * nodes * options.pages + 3 * nodes * nodes + nodes +
         options.pages * kObjectsPerPage;
}
unsigned later_actor_count(const Options& options) {
  return options.nodes * options.nodes + 2 * options.nodes + options.pages * kObjectsPerPage;
}

}  // namespace

void Trace::add(std::string line) {
  if (print_all_) {
    std::puts(line.c_str());
    return;
  }
  lines_.push_back(std::move(line));
  if (lines_.size() > kept_) lines_.pop_front();
}

Simulator::Simulator(const Options& options, Trace* trace)
    : model_(options),
      checker_(model_),
      random_(options.seed),
      trace_(trace),
      wires_(options.nodes * options.nodes),
      mail_(options.nodes * options.nodes),
      late_(options.nodes),
      object_mail_(options.nodes * options.nodes),
      overflows_(options.nodes * options.nodes),
      blamed_(options.pages),
      scheduler_(options, actor_count(options) + later_actor_count(options), later_actor_count(options),
                 static_cast<unsigned>(length()), random_) {
  make_homes();
  make_actors();
  make_trouble();
  make_rooms();
  begin_lives();
}

void Simulator::make_homes() {
  const unsigned first = random_.below(model_.options.nodes);
  for (unsigned page = 0; page < model_.options.pages; ++page) {
    Home& home = model_.homes[page];
    home.node = static_cast<NodeId>((first + page) % model_.options.nodes);
    home.has_bytes = !random_.percent(model_.options.latch_only);
    for (unsigned node = 0; node < model_.options.nodes; ++node) {
      model_.copy(static_cast<NodeId>(node), page).serial = model_.options.serial || model_.is_lock(page);
    }
  }
}

void Simulator::make_actors() {
  const auto nodes = static_cast<std::uint8_t>(model_.options.nodes);
  const auto pages = static_cast<std::uint8_t>(model_.options.pages);
  const auto add = [this](ActorKind kind, unsigned a, unsigned b) {
    actors_.push_back({kind, static_cast<std::uint8_t>(a), static_cast<std::uint8_t>(b)});
  };
  for (std::uint8_t node = 0; node < nodes; ++node) {
    for (unsigned i = 0; i < model_.options.threads; ++i) {
      const auto index = static_cast<unsigned>(threads_.size());
      threads_.push_back({.node = node, .left = model_.options.ops});
      add(ActorKind::kThread, index, 0);
      scheduler_.set(index, true);
    }
  }
  first_page_actor_ = static_cast<unsigned>(actors_.size());
  for (const ActorKind kind : {ActorKind::kAgent, ActorKind::kEnd, ActorKind::kUse}) {
    for (unsigned i = 0; i < nodes * pages; ++i) add(kind, i / pages, i % pages);
  }
  first_wire_ = static_cast<unsigned>(actors_.size());
  for (unsigned i = 0; i < nodes * nodes; ++i) add(ActorKind::kWire, i / nodes, i % nodes);
  first_mail_ = static_cast<unsigned>(actors_.size());
  for (unsigned i = 0; i < nodes * nodes; ++i) add(ActorKind::kMail, i / nodes, i % nodes);
  first_late_ = static_cast<unsigned>(actors_.size());
  for (unsigned i = 0; i < nodes; ++i) add(ActorKind::kLate, i, 0);
  first_letter_ = static_cast<unsigned>(actors_.size());
  for (unsigned i = 0; i < nodes * nodes; ++i) add(ActorKind::kLetter, i / nodes, i % nodes);
  first_queue_ = static_cast<unsigned>(actors_.size());
  for (unsigned i = 0; i < pages * kObjectsPerPage; ++i)
    add(ActorKind::kQueue, i / kObjectsPerPage, i % kObjectsPerPage);
  first_flush_ = static_cast<unsigned>(actors_.size());
  for (unsigned i = 0; i < nodes * nodes; ++i) add(ActorKind::kFlush, i / nodes, i % nodes);
  first_room_ = static_cast<unsigned>(actors_.size());
  for (unsigned i = 0; i < nodes; ++i) add(ActorKind::kRoom, i, 0);
  first_notice_ = static_cast<unsigned>(actors_.size());
  for (unsigned i = 0; i < nodes; ++i) add(ActorKind::kNotice, i, 0);
  first_life_ = static_cast<unsigned>(actors_.size());
  for (unsigned i = 0; i < pages * kObjectsPerPage; ++i)
    add(ActorKind::kLife, i / kObjectsPerPage, i % kObjectsPerPage);
  works_.resize(threads_.size());
}

void Simulator::make_trouble() {
  const Options& options = model_.options;
  NodeSet slow = 0;
  for (unsigned i = 0; i < options.nodes && options.slow_nodes != 0; ++i) {
    if (random_.percent(options.slow_nodes)) slow |= node_bit(static_cast<NodeId>(i));
  }
  for (unsigned i = 0; i < first_flush_; ++i) {
    const Actor& actor = actors_[i];
    const bool link =
        actor.kind == ActorKind::kWire || actor.kind == ActorKind::kMail || actor.kind == ActorKind::kLetter;
    bool slow_one = link && options.slow_links != 0 && random_.percent(options.slow_links);
    for (NodeSet left = slow; left != 0; left &= left - 1) {
      slow_one = slow_one || (!link && belongs_to(actor, static_cast<NodeId>(std::countr_zero(left))));
    }
    if (slow_one) scheduler_.slow_down(i);
  }
}

// Whether it is the node that moves, or somebody who needs it.
bool Simulator::belongs_to(const Actor& actor, NodeId node) const {
  switch (actor.kind) {
    case ActorKind::kThread:
      return threads_[actor.a].node == node;
    case ActorKind::kAgent:
    case ActorKind::kEnd:
    case ActorKind::kUse:
    case ActorKind::kLate:
      return actor.a == node;
    case ActorKind::kWire:
      return actor.a == node || actor.b == node;
    case ActorKind::kFlush:
    case ActorKind::kRoom:
    case ActorKind::kNotice:
      return actor.a == node;
    case ActorKind::kMail:
    case ActorKind::kLetter:
      return actor.b == node;
    case ActorKind::kQueue:
    case ActorKind::kLife:
      return model_.homes[actor.a].node == node;
  }
  return false;
}

void Simulator::run() {
  if (model_.options.crash != 0) return crash();
  const bool cut = model_.options.cut_percent < 100;
  run_until(cut ? length() * model_.options.cut_percent / 100 : length() * 20);
  finish();
}

void Simulator::finish() {
  generating_ = false;
  finish_fairly();
  checker_.at_rest();
  check_rooms();
  send_home();
  finish_fairly();
  release_all();
  finish_fairly();
  checker_.released();
  counts_.overtaken = checker_.overtaken();
}

// About how many moves a run of these options has.
std::uint64_t Simulator::length() const {
  const Options& options = model_.options;
  return std::uint64_t{options.nodes} * options.threads * options.ops * (options.fine ? 40 : 25);
}

void Simulator::run_until(std::uint64_t moves) {
  while (counts_.moves < moves) {
    const unsigned actor = scheduler_.pick();
    if (actor == kNobody) return;
    move(actors_[actor]);
  }
}

// Nobody makes new accesses: what is under way must come to its end, and soon.
void Simulator::finish_fairly() {
  run_fairly();
  if (all_finished()) return;
  const auto waits = std::find_if(threads_.begin(), threads_.end(),
                                  [](const Thread& one) { return one.state != ThreadState::kFinished; });
  throw Failure{Check::kStuck, fmt::format("thread {} of node {} waits for page {} and nothing can move",
                                           waits - threads_.begin(), waits->node, waits->page)};
}

bool Simulator::all_finished() const {
  return std::all_of(threads_.begin(), threads_.end(),
                     [](const Thread& thread) { return thread.state == ThreadState::kFinished; });
}

// Until nothing moves any more.
void Simulator::run_fairly() {
  const std::uint64_t allowed = fair_rounds_allowed();
  trace("no new accesses; fair from here on, {} rounds allowed", allowed);
  scheduler_.be_fair();
  for (unsigned actor = scheduler_.pick(); actor != kNobody; actor = scheduler_.pick()) {
    move(actors_[actor]);
    if (scheduler_.fair_rounds() <= allowed) continue;
    throw Failure{Check::kFairTime, fmt::format("not at rest after {} fair rounds", allowed)};
  }
  const auto share = static_cast<double>(scheduler_.fair_rounds()) / static_cast<double>(allowed);
  counts_.fair_share = std::max(counts_.fair_share, share);
}

// In a round every queue moves on by one. What lies in the queues takes a few rounds each; then each page has at the
// most as many turns as there are waiting threads, each of a bounded number of rounds.
std::uint64_t Simulator::fair_rounds_allowed() const {
  const Options& options = model_.options;
  return 10 * backlog() + 40ull * options.pages * (options.nodes + 1) * (options.threads + 1);
}

std::uint64_t Simulator::backlog() const {
  std::uint64_t sum = 0;
  for (const auto& wire : wires_) sum += wire.size();
  for (const auto& letters : mail_) sum += letters.size();
  for (const auto& letters : late_) sum += letters.size();
  for (const auto& letters : object_mail_) sum += letters.size();
  for (const auto& parcels : overflows_) sum += parcels.size();
  return sum;
}

// Making up one's mind changes nothing for anybody else: it may as well be done at once.
std::vector<unsigned> Simulator::movable() const {
  for (unsigned i = 0; i < threads_.size(); ++i) {
    if (threads_[i].state == ThreadState::kChoosing) return {i};
  }
  std::vector<unsigned> actors = scheduler_.list();
  std::sort(actors.begin(), actors.end());
  return actors;
}

void Simulator::send_home() {
  for (unsigned node = 0; node < model_.options.nodes; ++node) {
    for (unsigned page = 0; page < model_.options.pages; ++page) nothing_standing(static_cast<NodeId>(node), page);
  }
}

void Simulator::release_all() {
  for (unsigned node = 0; node < model_.options.nodes; ++node) {
    for (unsigned page = 0; page < model_.options.pages; ++page) {
      const proto::Page& state = model_.copy(static_cast<NodeId>(node), page).page;
      if (state.access == Access::kObject || state.keeps) {
        step(static_cast<NodeId>(node), page, {.kind = proto::EventKind::kUsed});
      }
      step(static_cast<NodeId>(node), page, {.kind = proto::EventKind::kRelease});
      while (model_.copy(static_cast<NodeId>(node), page).executing()) move_agent(static_cast<NodeId>(node), page);
    }
  }
}

void Simulator::move(const Actor& actor) {
  ++counts_.moves;
  switch (actor.kind) {
    case ActorKind::kThread:
      return move_thread(actor.a);
    case ActorKind::kAgent:
      return move_agent(actor.a, actor.b);
    case ActorKind::kEnd:
      return end(actor.a, actor.b);
    case ActorKind::kUse:
      return use(actor.a, actor.b);
    case ActorKind::kWire:
      return move_wire(actor.a, actor.b);
    case ActorKind::kMail:
      return deliver(mail(actor.a, actor.b), actor.b);
    case ActorKind::kLate:
      return deliver(late_[actor.a], actor.a);
    case ActorKind::kLetter:
      return deliver_object(actor.a, actor.b);
    case ActorKind::kQueue:
      return move_queue(actor.a, actor.b);
    case ActorKind::kFlush:
      return flush(actor.a, actor.b);
    case ActorKind::kRoom:
      return put_out(actor.a);
    case ActorKind::kNotice:
      return hear(actor.a);
    case ActorKind::kLife:
      return end_life(actor.a, actor.b);
  }
}

}  // namespace dsm::sim
