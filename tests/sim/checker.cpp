#include "tests/sim/checker.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "tests/sim/text.h"

namespace dsm::sim {
namespace {

template <typename... Args>
[[noreturn]] void broken(Check check, fmt::format_string<Args...> format, Args&&... args) {
  throw Failure{check, fmt::format(format, std::forward<Args>(args)...)};
}

}  // namespace

const char* name_of(Check check) {
  constexpr std::array<const char*, static_cast<std::size_t>(Check::kCount)> kNames = {
      "exclusion", "freshness",  "lost-write", "latch-word", "header-word", "waiters-word",
      "backing",   "soundness",  "hold",       "view",       "snapshot",    "lost-update",
      "assertion", "overtaking", "room",       "stuck",      "fair-time"};
  return kNames[static_cast<std::size_t>(check)];
}

Checker::Checker(const Model& model) : model_(model), waits_(model.copies.size()) {}

void Checker::exclusion(unsigned page) const {
  NodeSet readers = 0;
  NodeSet writers = 0;
  NodeSet borrowers = 0;
  NodeSet at_work = 0;
  for (unsigned i = 0; i < model_.options.nodes; ++i) {
    const auto node = static_cast<NodeId>(i);
    const Copy& copy = model_.copy(node, page);
    const Access access = std::max(copy.view, copy.page.access);
    if (access == Access::kWrite) writers |= node_bit(node);
    if (access == Access::kRead) readers |= node_bit(node);
    if (access == Access::kObject) borrowers |= node_bit(node);
    if (copy.borrows != 0) at_work |= node_bit(node);
  }
  for (NodeSet left = readers | writers; left != 0; left &= left - 1) {
    const NodeSet others = at_work & ~(left & (~left + 1));
    if (others == 0) continue;
    broken(Check::kExclusion, "page {} may be touched by {} although borrows are under way at {}", page,
           set_text(readers | writers), set_text(others));
  }
  const bool one_kind = (writers != 0) + (readers != 0) + (borrowers != 0) <= 1;
  if (one_kind && (writers == 0 || std::has_single_bit(writers))) return;
  broken(Check::kExclusion, "page {} may be written by {}, read by {} and borrowed from by {}", page, set_text(writers),
         set_text(readers), set_text(borrowers));
}

void Checker::backing(unsigned page) const {
  const Home& home = model_.homes[page];
  const proto::Word word = home.latch.word;
  for (unsigned i = 0; i < model_.options.nodes; ++i) {
    const auto node = static_cast<NodeId>(i);
    const Access access = model_.copy(node, page).page.access;
    const bool owner = proto::owned_by(word, node, home.node);
    const bool member = contains(proto::set_of(word), node);
    const bool plain = proto::is_members(word);
    const bool alone = owner ? proto::set_of(word) == 0 : member && plain;
    const bool good = access == Access::kNone || (access == Access::kWrite && alone) ||
                      (access == Access::kRead && (owner || member) && !proto::objects_at_work(word) && !plain) ||
                      (access == Access::kObject && member && proto::objects_at_work(word));
    if (good) continue;
    broken(Check::kBacking, "node {} has {} access to page {} whose word is {}", node, access_text(access), page,
           word_text(word, home.node));
  }
}

void Checker::stepped(NodeId node, unsigned page) const {
  const Copy& copy = model_.copy(node, page);
  const proto::Place place = model_.place(node, page);
  if (!proto::is_sound(copy.page, place)) {
    broken(Check::kSoundness, "node {} page {}: {}", node, page, page_text(copy.page, place));
  }
  if (copy.in_flight && copy.todo.has_chain()) {
    broken(Check::kSoundness, "node {} page {}: a second chain while one is in flight", node, page);
  }
  exclusion(page);
}

// About to execute `lower` or `unmap`.
void Checker::lowering(NodeId node, unsigned page) const {
  const Copy& copy = model_.copy(node, page);
  if ((copy.todo.lower && copy.view != Access::kWrite) || (copy.todo.unmap && copy.view == Access::kNone)) {
    broken(Check::kView, "node {} takes access to page {} away from a {} view", node, page, access_text(copy.view));
  }
  const bool held = copy.todo.unmap ? copy.held() : copy.writer;
  if (held) broken(Check::kHold, "node {} gives up page {} while a thread holds its lock or borrows", node, page);
  if (!copy.owed || copy.voluntary || model_.options.early_use) return;
  broken(Check::kHold, "node {} gives page {} up before the access it was gained for", node, page);
}

// About to execute `map` or `raise`.
void Checker::raising(NodeId node, unsigned page) const {
  const Copy& copy = model_.copy(node, page);
  if (copy.todo.map != Access::kNone && copy.view == Access::kNone) return;
  if (copy.todo.raise && copy.view == Access::kRead) return;
  broken(Check::kView, "node {} opens page {} further from a {} view", node, page, access_text(copy.view));
}

// Of objects that are no more nobody knows the bytes.
bool Checker::is_truth(unsigned page, const Bytes& bytes) const {
  for (unsigned which = 0; which < kObjectsPerPage; ++which) {
    if (model_.lives_now(page, which) && bytes[which] != model_.truth[page][which]) return false;
  }
  return true;
}

void Checker::read(NodeId node, unsigned page, const Bytes& bytes) const {
  if (!model_.homes[page].has_bytes || is_truth(page, bytes)) return;
  const Bytes& truth = model_.truth[page];
  broken(Check::kFreshness, "node {} reads {}/{} from page {}, last written was {}/{}", node,
         static_cast<std::int64_t>(bytes[0].a), static_cast<std::int64_t>(bytes[1].a), page, truth[0].a, truth[1].a);
}

void Checker::saw(NodeId node, unsigned page, unsigned object, const Half& bytes, std::uint64_t from,
                  std::uint64_t to) const {
  if (bytes.a == bytes.b && model_.history(page, object).may_be_seen(bytes.a, from, to)) return;
  broken(Check::kSnapshot, "node {} sees {}/{} in object {} of page {}, the last change made it {}", node,
         static_cast<std::int64_t>(bytes.a), static_cast<std::int64_t>(bytes.b), object, page,
         model_.history(page, object).last());
}

void Checker::found(NodeId node, unsigned page, unsigned object, const Half& bytes) const {
  const std::uint64_t last = model_.history(page, object).last();
  if (bytes == Half(last)) return;
  broken(Check::kLostUpdate, "node {} is to change object {} of page {} and finds {}/{}, the last change made it {}",
         node, object, page, static_cast<std::int64_t>(bytes.a), static_cast<std::int64_t>(bytes.b), last);
}

void Checker::stands(NodeId node, unsigned page, unsigned object, const Half& bytes) const {
  if (model_.homes[page].bytes[object] == bytes) return;
  broken(Check::kSnapshot, "object {} of page {} changes while node {} reads it in place", object, page, node);
}

void Checker::changed_header(unsigned page, unsigned object) const {
  const proto::Header word = model_.object(page, object).header;
  const proto::Hold hold = proto::hold_of(word);
  const bool known = hold <= proto::Hold::kStanding && proto::holder_of(word) < model_.options.nodes;
  const bool free = hold != proto::Hold::kFree || proto::holder_of(word) == 0;
  const bool written = !proto::is_writing(word) || (hold == proto::Hold::kLocked && proto::readers_of(word) == 0);
  const bool alone = hold != proto::Hold::kStanding || proto::readers_of(word) == 0;
  if (known && free && written && alone) return;
  broken(Check::kHeaderWord, "the header of object {} of page {} has become {:#x}", object, page, word);
}

void Checker::objects_at_rest(unsigned page) const {
  for (unsigned which = 0; which < kObjectsPerPage; ++which) {
    const Object& object = model_.object(page, which);
    const proto::Header busy = proto::kAsked | proto::kWriting;
    if ((object.header & busy) == 0 && proto::readers_of(object.header) == 0 && object.turns.empty() &&
        proto::hold_of(object.header) != proto::Hold::kLocked) {
      continue;
    }
    broken(Check::kStuck, "at rest the header of object {} of page {} is {:#x}, and {} wait for it", which, page,
           object.header, object.turns.size());
  }
}

void Checker::swapped(NodeId node, unsigned page) const {
  const Home& home = model_.homes[page];
  const proto::Word word = home.latch.word;
  const NodeSet all = node_bit(static_cast<NodeId>(model_.options.nodes)) - 1;
  const NodeId owner = proto::owner_of(word, home.node);
  const bool members = (proto::set_of(word) & ~all) == 0;
  const bool shared = word == proto::shared_word(proto::set_of(word));
  const bool object = word == proto::object_word(proto::set_of(word)) && proto::set_of(word) != 0;
  const bool finish = proto::set_of(word) != 0 && (word & proto::kObjectsFinish) != 0;
  const bool one = std::has_single_bit(proto::set_of(word)) && !finish;
  const proto::Word plain = finish ? word & ~(proto::kObjectsFinish | proto::kOwnerBorrows | proto::kMemberPlain)
                            : one  ? word & ~proto::kMemberPlain
                                   : word;
  const bool exclusive = plain == proto::exclusive_word(owner, home.node, proto::set_of(word)) &&
                         owner < model_.options.nodes && !contains(proto::set_of(word), owner);
  if (members && (shared || object || exclusive)) return backing(page);
  broken(Check::kLatchWord, "node {} makes page {}'s word {:#x}", node, page, word);
}

void Checker::adding(NodeId node, unsigned page, std::uint64_t operand) {
  const NodeSet before = model_.homes[page].latch.waiters;
  const NodeSet taken = operand >> 63 != 0 ? ~operand + 1 : 0;
  const NodeSet added = taken != 0 ? 0 : operand;
  const NodeSet all = node_bit(static_cast<NodeId>(model_.options.nodes)) - 1;
  if ((taken & ~before) != 0 || (added & before) != 0 || (added & ~all) != 0) {
    broken(Check::kWaiters, "node {} adds {} and takes {} from page {}'s waiters {}", node, set_text(added),
           set_text(taken), page, set_text(before));
  }
  if (added == 0) return;
  Wait& own = wait(node, page);
  own.exclusive = own.grants = 0;
  if (own.open) most_.in_vain = std::max(most_.in_vain, ++own.in_vain);
  own.open = true;
}

// `node` has gained access: it overtakes all who wait.
void Checker::gained(NodeId node, unsigned page, Access access) {
  Wait& own = wait(node, page);
  own = {};
  for (unsigned i = 0; i < model_.options.nodes; ++i) {
    const auto waiter = static_cast<NodeId>(i);
    if (waiter != node && wait(waiter, page).open) overtake(waiter, page, access);
  }
}

void Checker::overtake(NodeId waiter, unsigned page, Access access) {
  Wait& waiting = wait(waiter, page);
  const Home& home = model_.homes[page];
  const bool served = proto::owned_by(home.latch.word, waiter, home.node) ||
                      contains(proto::set_of(home.latch.word), waiter) || !contains(home.latch.waiters, waiter);
  if (served) return;
  waiting.grants += 1;
  waiting.exclusive += access == Access::kWrite;
  most_.grants = std::max(most_.grants, waiting.grants);
  most_.exclusive = std::max(most_.exclusive, waiting.exclusive);
  const unsigned nodes = model_.options.nodes;
  const Options& options = model_.options;
  const unsigned inside = options.inside != 0 ? options.threads + 1 : 1;  // each of its threads may go first
  const unsigned times = options.weights.borrow != 0 ? kTimesWithObjects * inside : 1;
  if (waiting.exclusive <= times * exclusive_bound(nodes) && waiting.grants <= times * grant_bound(nodes)) return;
  broken(Check::kOvertaking, "node {} waits for page {} and {} gains went past it, {} of them exclusive", waiter, page,
         waiting.grants, waiting.exclusive);
}

void Checker::raced(unsigned page) {
  for (unsigned i = 0; i < model_.options.nodes; ++i) {
    Wait& waiting = wait(static_cast<NodeId>(i), page);
    waiting.exclusive = waiting.grants = 0;
  }
}

// Nothing moves and nobody wants anything.
void Checker::at_rest() const {
  for (unsigned page = 0; page < model_.options.pages; ++page) {
    const Home& home = model_.homes[page];
    if (home.latch.waiters != 0) {
      broken(Check::kWaiters, "at rest page {}'s waiters are {}", page, set_text(home.latch.waiters));
    }
    if (proto::is_exclusive(home.latch.word) && proto::set_of(home.latch.word) != 0) {
      broken(Check::kStuck, "at rest page {}'s word is {}", page, word_text(home.latch.word, home.node));
    }
    for (unsigned i = 0; i < model_.options.nodes; ++i) {
      const auto node = static_cast<NodeId>(i);
      const proto::Page& state = model_.copy(node, page).page;
      if (state.phase == proto::Phase::kIdle && state.want == Access::kNone) continue;
      broken(Check::kStuck, "at rest node {} page {}: {}", node, page, page_text(state, model_.place(node, page)));
    }
    exclusion(page);
    backing(page);
    objects_at_rest(page);
  }
}

// As at_rest, and every node has released everything.
void Checker::released() const {
  at_rest();
  for (unsigned page = 0; page < model_.options.pages; ++page) {
    const Home& home = model_.homes[page];
    for (unsigned i = 0; i < model_.options.nodes; ++i) {
      if (model_.copy(static_cast<NodeId>(i), page).page.access == Access::kNone) continue;
      broken(Check::kStuck, "node {} keeps page {} after its release", i, page);
    }
    if (!home.has_bytes || is_truth(page, home.bytes)) continue;
    broken(Check::kLostWrite, "page {} holds {}/{} at its home, last written was {}/{}", page, home.bytes[0].a,
           home.bytes[1].a, model_.truth[page][0].a, model_.truth[page][1].a);
  }
}

}  // namespace dsm::sim
