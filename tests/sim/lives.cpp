// The lives of objects, as the runtime has them (runtime/object_blocks.cpp) around the shipped proto/life.h: a thread
// frees an object that nobody uses, here or by a message; the home ends its life, waits for those who have to forget
// it, and a thread there makes it anew, with a colour or without. What the program has to see to it does: nobody uses
// what has been freed, and who is told of a new object is told so after its first change. An object with a colour is
// changed at its home only, and by nobody while others read it, as one owned pointer is.
#include <bit>

#include "tests/sim/simulator.h"
#include "tests/sim/text.h"

namespace dsm::sim {

// One of the two blocks of a page is of an object arena: nothing is there at first.
void Simulator::begin_lives() {
  if (model_.options.lives == 0 || model_.options.one_header) return;
  for (unsigned page = 0; page < model_.options.pages; ++page) {
    Life& life = model_.life(page, kObjectsPerPage - 1);
    life.owned = true;
    life.stage = LifeStage::kDead;
  }
}

// Before the thread borrows: what else it does with the object. True: nothing, it may borrow.
bool Simulator::begin_use(Thread& thread) {
  if (model_.options.lives == 0) return true;
  if (random_.percent(50)) look_for_dead(thread);
  const bool at_home = thread.node == model_.homes[thread.page].node;
  Life& life = model_.life(thread.page, thread.object);
  if (life.stage == LifeStage::kDead && at_home) return make_object(thread, life);
  if (life.stage != LifeStage::kLive) return false;
  const bool stands = proto::hold_of(model_.object(thread.page, thread.object).header) == proto::Hold::kStanding;
  if (life.users == 0 && random_.percent(stands ? 60 : model_.options.lives)) {
    free_object(thread, life);
    return false;
  }
  if (life.changing) return false;
  if (life.owned && (!at_home || life.users != 0)) thread.change = false;
  if (life.owned || model_.options.one_header || !thread.change) thread.to = kNoNode;
  life.changing = life.owned && thread.change;
  ++life.users;
  return true;
}

// The heap gives out again what has just been freed.
void Simulator::look_for_dead(Thread& thread) const {
  for (unsigned i = 0; i < kObjectsPerPage; ++i) {
    const unsigned which = (thread.object + i) % kObjectsPerPage;
    if (model_.lives[thread.page * kObjectsPerPage + which].stage != LifeStage::kDead) continue;
    thread.object = which;
    return;
  }
}

void Simulator::end_use(unsigned index) {
  Thread& thread = threads_[index];
  Life& life = model_.life(thread.page, thread.object);
  if (model_.options.lives == 0) return;
  const proto::Header word = works_[index].borrow.word;
  const bool all = thread.change && proto::colour_wraps(proto::version_of(word)) && proto::version_of(word) != 0;
  if (life.stage == LifeStage::kNew || life.changing) life.colour = proto::colour_of(word);
  if (all && !mutated(Mutation::kLifeColourAnew)) {
    for (unsigned node = 0; node < model_.options.nodes; ++node) {
      if (node != thread.node) ask_to_forget(thread, static_cast<NodeId>(node), index);
    }
  }
  if (thread.answers == 0) used(thread);
}

void Simulator::used(Thread& thread) {
  Life& life = model_.life(thread.page, thread.object);
  if (life.stage == LifeStage::kNew) life.stage = LifeStage::kLive;
  life.changing = false;
  --life.users;
  thread.state = ThreadState::kChoosing;
}

// Every node forgets its copy, but not one that stands: the thread waits for the answers, and holds nothing meanwhile.
void Simulator::ask_to_forget(Thread& thread, NodeId node, unsigned index) {
  const auto p = static_cast<std::uint8_t>(thread.page), o = static_cast<std::uint8_t>(thread.object);
  thread.state = ThreadState::kForgetting;
  thread.answers |= node_bit(node);
  write_object(thread.node, node, {ObjectMessage::kForget, thread.node, p, o, index, {}, 0});
}

// --- a life ends ----------------------------------------------------------------------------------------------------

void Simulator::free_object(const Thread& thread, Life& life) {
  const NodeId home = model_.homes[thread.page].node;
  const auto p = static_cast<std::uint8_t>(thread.page), o = static_cast<std::uint8_t>(thread.object);
  trace("node {} frees object {} of page {}", thread.node, thread.object, thread.page);
  life.stage = LifeStage::kEnding;
  if (thread.node != home) return write_object(thread.node, home, {ObjectMessage::kFree, thread.node, p, o, 0, {}, 0});
  scheduler_.set(life_actor(thread.page, thread.object), true);
}

// At the home: it looks at the latch, then it swaps the header.
void Simulator::end_life(unsigned page, unsigned which) {
  Life& life = model_.life(page, which);
  Object& object = model_.object(page, which);
  if (!life.looked) {
    const proto::Word latch = model_.homes[page].latch.word;
    life.looked = true;
    life.no_copies = !proto::may_have_copies(latch);
    return;
  }
  scheduler_.set(life_actor(page, which), false);
  life.looked = false;
  if (life.no_copies) return ended_life(page, which);
  const proto::LifeEnd end = proto::end_of_life(object.header, !model_.options.one_header);
  object.header = end.word;
  if (mutated(Mutation::kLifeBreaksLock)) object.header = proto::at_rest(end.word);
  checker_.changed_header(page, which);
  trace("    the free of object {} of page {} leaves '{}'", which, page, header_text(object.header));
  const NodeId home = model_.homes[page].node;
  const NodeSet all = node_bit(static_cast<NodeId>(model_.options.nodes)) - 1;
  if (end.all_forget && !mutated(Mutation::kLifeColourAnew)) life.awaited = all;
  if (end.forgets != kNoNode && !mutated(Mutation::kLifeUntold)) life.awaited |= node_bit(end.forgets);
  life.awaited &= ~node_bit(home);
  const auto p = static_cast<std::uint8_t>(page), o = static_cast<std::uint8_t>(which);
  for (NodeSet left = life.awaited; left != 0; left &= left - 1) {
    write_object(home, static_cast<NodeId>(std::countr_zero(left)),
                 {ObjectMessage::kForget, home, p, o, kForFree, {}, 0});
  }
  if (life.awaited == 0) ended_life(page, which);
}

// A free of this home has not been answered by all.
bool Simulator::awaits_forgetting(NodeId home) const {
  for (unsigned i = 0; i < model_.lives.size(); ++i) {
    if (model_.homes[i / kObjectsPerPage].node == home && model_.lives[i].awaited != 0) return true;
  }
  return false;
}

void Simulator::ended_life(unsigned page, unsigned which) {
  trace("object {} of page {} is in the heap again", which, page);
  model_.life(page, which).stage = LifeStage::kDead;
}

// A node gets the word. What it is giving back is home before it answers.
void Simulator::forget(NodeId node, const ObjectLetter& letter) {
  Cached& cached = model_.cached(node, letter.page, letter.object);
  if (cached.holder == kGiver) {
    cached.forgets.push_back(letter);
    return;
  }
  const bool freed = letter.thread == kForFree;
  for (unsigned i = 0; i < threads_.size(); ++i) {
    const Thread& thread = threads_[i];
    if (thread.node == node && thread.page == letter.page && thread.object == letter.object) works_[i].worthless = true;
  }
  if (freed || !cached.standing) cached.have = cached.standing = cached.dirty = cached.recalled = false;
  ObjectLetter answer = letter;
  answer.kind = ObjectMessage::kForgotten;
  answer.from = node;
  write_object(node, letter.from, answer);
}

void Simulator::forgotten(const ObjectLetter& letter) {
  if (letter.thread == kForFree) {
    Life& life = model_.life(letter.page, letter.object);
    life.awaited &= ~node_bit(letter.from);
    if (life.awaited == 0 && life.stage == LifeStage::kEnding) ended_life(letter.page, letter.object);
    return;
  }
  Thread& thread = threads_[letter.thread];
  thread.answers &= ~node_bit(letter.from);
  if (thread.answers == 0) used(thread);
  refresh_thread(letter.thread);
}

// --- and the next begins --------------------------------------------------------------------------------------------

// The thread has been given the block, and makes an object of it. With luck many lives have passed that nobody else has
// seen, as long as the colours have not begun anew: then the others would have been told.
bool Simulator::make_object(Thread& thread, Life& life) {
  Object& object = model_.object(thread.page, thread.object);
  if (!model_.options.one_header && random_.percent(50)) {
    object.header += passed_lives(thread) * proto::kOneVersion;
  }
  if (life.owned) object.header = proto::begin_of_life(object.header);
  trace("node {} makes object {} of page {} anew: '{}'", thread.node, thread.object, thread.page,
        header_text(object.header));
  life.stage = LifeStage::kNew;
  ++life.users;
  thread.change = true;
  thread.nests = false;
  thread.to = kNoNode;
  return true;
}

// Up to the last of the colours, or to the one before a colour of which somebody has a copy.
std::uint64_t Simulator::passed_lives(const Thread& thread) {
  const std::uint64_t now = proto::version_of(model_.object(thread.page, thread.object).header), last = now | 0xffff;
  std::vector<std::uint64_t> to = {last - now};
  if (last != now) to.push_back(last - 1 - now);
  for (unsigned node = 0; node < model_.options.nodes; ++node) {
    const Cached& cached = model_.cached(static_cast<NodeId>(node), thread.page, thread.object);
    const std::uint64_t before = (now & ~0xffffull) + proto::colour_of(cached.word) - 1;
    if (cached.have && proto::colour_of(cached.word) != 0 && before > now) to.push_back(before - now);
  }
  return to[random_.below(static_cast<unsigned>(to.size()))];
}

}  // namespace dsm::sim
