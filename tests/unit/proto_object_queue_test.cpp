// The home's queue, step by step.
#include <gtest/gtest.h>

#include <vector>

#include "proto/object.h"

namespace dsm::proto {
namespace {

constexpr Header kV = 5 * kOneVersion;
constexpr Header locked(NodeId node) { return kV | held_by(Hold::kLocked, node); }
constexpr Header standing(NodeId node) { return kV | held_by(Hold::kStanding, node); }
constexpr Turn writer(NodeId node) { return {node, Wish::kWrite, true, node == 0}; }
constexpr Turn reader(NodeId node, bool small = true) { return {node, Wish::kRead, small, false}; }

// The queue and the one word it works on; every operation takes effect at once.
struct Rig {
  explicit Rig(Header now = kV) : word(now) {}

  Header word;
  std::vector<Turn> line;
  Queue queue;
  std::vector<NodeId> granted, recalled;
  bool idle = false;

  void run(QueueEventKind kind) {
    idle = false;
    for (QueueEvent event{kind};;) {
      const QueueActions todo = step(queue, line, event);
      event = {QueueEventKind::kDone, word};
      if (todo.recall != kNoNode) recalled.push_back(todo.recall);
      if (todo.swap && word == todo.expected) word = todo.desired;
      if (todo.grant) {
        granted.push_back(line[todo.index].node);
        line.erase(line.begin() + todo.index);
        event = {QueueEventKind::kNext};
      } else if (!todo.read && !todo.swap) {
        idle = todo.idle;
        return;
      }
    }
  }
  void ask(Turn turn) {
    line.push_back(turn);
    run(QueueEventKind::kAsked);
  }
  void freed(Header now) {
    word = now;
    run(QueueEventKind::kFreed);
  }
};

TEST(ObjectQueue, GrantsAtOnceWhatIsFree) {
  Rig rig;
  rig.ask(writer(2));
  EXPECT_EQ(rig.word, locked(2));
  EXPECT_EQ(rig.granted, std::vector<NodeId>{2});
  EXPECT_TRUE(rig.idle);
}

TEST(ObjectQueue, MarksTheWordWhileSomebodyWaitsAndServesInTurn) {
  Rig rig(locked(1));
  rig.ask(writer(2));
  rig.ask(writer(3));
  EXPECT_EQ(rig.word, locked(1) | kAsked);
  EXPECT_FALSE(rig.idle);
  rig.freed(kV + kOneVersion + kAsked);
  EXPECT_EQ(rig.word, (kV + kOneVersion) | held_by(Hold::kLocked, 2) | kAsked);
  rig.freed(kV + kAsked);
  EXPECT_EQ(rig.word, locked(3));
  EXPECT_EQ(rig.granted, (std::vector<NodeId>{2, 3}));
  EXPECT_TRUE(rig.idle);
}

TEST(ObjectQueue, ClearsAMarkNobodyWaitsFor) {
  Rig rig;
  rig.freed(kV + kAsked);
  EXPECT_EQ(rig.word, kV);
  EXPECT_TRUE(rig.idle);
  rig.freed(kAsked);  // a version of zero
  EXPECT_EQ(rig.word, 0U);
  EXPECT_TRUE(rig.idle);
}

TEST(ObjectQueue, CallsAStandingObjectBackOnce) {
  Rig rig(standing(4));
  rig.ask(reader(2));
  rig.ask(writer(3));
  EXPECT_EQ(rig.recalled, std::vector<NodeId>{4});
  rig.freed(kV + kOneVersion + kAsked);
  EXPECT_EQ(rig.granted, std::vector<NodeId>{2});  // the writer waits for the reader's mark
  rig.freed(kV + kOneVersion + kAsked);
  EXPECT_EQ(rig.granted, (std::vector<NodeId>{2, 3}));
  rig.freed(standing(5));
  rig.ask(writer(2));
  EXPECT_EQ(rig.recalled, (std::vector<NodeId>{4, 5}));
}

TEST(ObjectQueue, LetsReadersOfALockedLargeObjectPassTheWriters) {
  Rig rig(locked(1));
  rig.ask(writer(2));
  rig.ask(reader(3, false));
  EXPECT_EQ(rig.granted, std::vector<NodeId>{3});
  EXPECT_EQ(rig.word, (locked(1) + kOneReader) | kAsked);
  rig.ask({1, Wish::kWriteBack, false, false});
  rig.ask(reader(4, false));  // not before the holder has written back
  EXPECT_EQ(rig.granted, std::vector<NodeId>{3});
  rig.freed(locked(1) | kAsked);
  EXPECT_EQ(rig.granted, (std::vector<NodeId>{3, 1}));
  EXPECT_EQ(rig.word, locked(1) | kWriting | kAsked);
}

TEST(ObjectQueue, AWriterInPlaceHasTheObjectToItself) {
  Rig rig(kV + kOneReader);
  rig.ask({0, Wish::kWrite, false, true});
  EXPECT_TRUE(rig.granted.empty());
  rig.freed(kV + kAsked);
  EXPECT_EQ(rig.word, locked(0) | kWriting);
}

TEST(ObjectQueue, LooksAgainAfterWhatHappenedMeanwhile) {
  Rig rig(locked(1));
  rig.line.push_back(writer(2));
  EXPECT_TRUE(step(rig.queue, rig.line, {QueueEventKind::kAsked}).read);
  EXPECT_TRUE(step(rig.queue, rig.line, {QueueEventKind::kDone, locked(1)}).swap);  // puts the mark in
  const QueueActions none = step(rig.queue, rig.line, {QueueEventKind::kFreed});
  EXPECT_FALSE(none.read || none.swap);
  EXPECT_TRUE(step(rig.queue, rig.line, {QueueEventKind::kDone, locked(1)}).read);
  EXPECT_EQ(step(rig.queue, rig.line, {QueueEventKind::kDone, kV | kAsked}).desired, locked(2));
}

}  // namespace
}  // namespace dsm::proto
