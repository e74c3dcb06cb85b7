#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "sync/objects.h"

namespace dsm::sync {
namespace {

// Notes who gets an answer: "node.call=value" each, in order.
class Notes final : public Desk {
 public:
  void answer(Caller caller, std::uint64_t value) override {
    const std::string said = value == kBadArgument ? "bad" : fmt::format("{}", value);
    text_ += fmt::format("{}{}.{}={}", text_.empty() ? "" : " ", caller.node, caller.call, said);
  }
  std::string take() { return std::exchange(text_, ""); }

 private:
  std::string text_;
};

Caller caller(NodeId node, std::uint32_t call) { return {node, call}; }

TEST(CallerQueue, IsFirstInFirstOutWhateverIsRemoved) {
  CallerPool pool;
  CallerQueue queue, other;
  for (std::uint32_t call = 1; call <= 5; ++call) {
    queue.push(pool, caller(0, call));
    other.push(pool, caller(1, call));
  }
  EXPECT_FALSE(queue.remove(pool, caller(1, 3)));
  EXPECT_TRUE(queue.remove(pool, caller(0, 3)));
  EXPECT_TRUE(queue.remove(pool, caller(0, 5)));
  EXPECT_TRUE(queue.remove(pool, caller(0, 1)));
  queue.push(pool, caller(0, 6));
  EXPECT_EQ(queue.size(), 3U);
  for (const std::uint32_t call : {2U, 4U, 6U}) EXPECT_EQ(queue.pop(pool).call, call);
  EXPECT_TRUE(queue.empty());
  queue.push(pool, caller(0, 7));
  EXPECT_TRUE(queue.remove(pool, caller(0, 7)));
  EXPECT_TRUE(queue.empty());
  queue.push(pool, caller(0, 8));
  EXPECT_EQ(queue.pop(pool).call, 8U);
  for (std::uint32_t call = 1; call <= 5; ++call) EXPECT_EQ(other.pop(pool).call, call);
}

TEST(Barrier, LetsAllGoWhenTheLastComesAndBeginsAgain) {
  Barrier barrier;
  Notes notes;
  for (int phase = 0; phase < 2; ++phase) {
    barrier.arrive(notes, caller(0, 7), 3);
    barrier.arrive(notes, caller(1, 7), 3);
    EXPECT_EQ(notes.take(), "");
    EXPECT_EQ(barrier.waiting(), 2U);
    barrier.arrive(notes, caller(1, 8), 3);
    EXPECT_EQ(notes.take(), "0.7=1 1.7=1 1.8=1");
    EXPECT_EQ(barrier.waiting(), 0U);
  }
}

TEST(Barrier, RefusesWhoDisagreesAboutTheParties) {
  Barrier barrier;
  Notes notes;
  barrier.arrive(notes, caller(0, 1), 0);
  EXPECT_EQ(notes.take(), "0.1=bad");
  barrier.arrive(notes, caller(0, 1), 2);
  barrier.arrive(notes, caller(1, 1), 3);
  EXPECT_EQ(notes.take(), "1.1=bad");
  barrier.arrive(notes, caller(1, 2), 2);
  EXPECT_EQ(notes.take(), "0.1=1 1.2=1");
}

TEST(Semaphore, ServesInTheOrderOfComing) {
  Semaphore semaphore;
  Notes notes;
  semaphore.release(notes, caller(0, 0), 1);
  semaphore.acquire(notes, caller(0, 1));
  EXPECT_EQ(notes.take(), "0.0=1 0.1=1");
  semaphore.acquire(notes, caller(2, 2));
  semaphore.acquire(notes, caller(1, 3));
  semaphore.acquire(notes, caller(2, 4));
  EXPECT_EQ(notes.take(), "");
  semaphore.try_acquire(notes, caller(3, 5));
  EXPECT_EQ(notes.take(), "3.5=0");
  semaphore.release(notes, caller(0, 6), 2);
  EXPECT_EQ(notes.take(), "2.2=1 1.3=1 0.6=1");
  EXPECT_EQ(semaphore.waiting(), 1U);
  semaphore.release(notes, caller(0, 7), 2);
  EXPECT_EQ(notes.take(), "2.4=1 0.7=1");
  semaphore.try_acquire(notes, caller(3, 8));
  semaphore.try_acquire(notes, caller(3, 9));
  EXPECT_EQ(notes.take(), "3.8=1 3.9=0");
}

TEST(Semaphore, RefusesACountThatCannotBe) {
  Semaphore semaphore;
  Notes notes;
  semaphore.release(notes, caller(0, 1), Semaphore::kMostCount);
  semaphore.release(notes, caller(0, 2), 1);
  semaphore.release(notes, caller(0, 3), ~std::uint64_t{0});
  EXPECT_EQ(notes.take(), "0.1=1 0.2=bad 0.3=bad");
}

TEST(Condition, NotifiesTheLongestWaiting) {
  Condition condition;
  Notes notes;
  condition.notify(notes, caller(9, 0), 1);
  EXPECT_EQ(notes.take(), "9.0=1") << "nobody waits: nothing is remembered";
  for (std::uint32_t call = 1; call <= 4; ++call) condition.wait(notes, caller(0, call));
  condition.notify(notes, caller(9, 5), 1);
  EXPECT_EQ(notes.take(), "0.1=1 9.5=1");
  condition.notify(notes, caller(9, 6), ~std::uint64_t{0});
  EXPECT_EQ(notes.take(), "0.2=1 0.3=1 0.4=1 9.6=1");
  EXPECT_EQ(condition.waiting(), 0U);
}

TEST(Condition, CancelsThatWaitOnly) {
  Condition condition;
  Notes notes;
  condition.wait(notes, caller(0, 1));
  condition.wait(notes, caller(1, 1));
  condition.cancel(notes, caller(1, 2), 1);
  EXPECT_EQ(notes.take(), "1.1=0 1.2=1");
  condition.cancel(notes, caller(1, 3), 1);
  EXPECT_EQ(notes.take(), "1.3=1") << "already answered";
  condition.notify(notes, caller(2, 4), 1);
  EXPECT_EQ(notes.take(), "0.1=1 2.4=1");
}

TEST(Once, RunsOnceAndTheOthersWaitForItsEnd) {
  Once once;
  Notes notes;
  once.begin(notes, caller(1, 1));
  EXPECT_EQ(notes.take(), "1.1=1");
  once.begin(notes, caller(0, 2));
  once.begin(notes, caller(2, 3));
  EXPECT_EQ(notes.take(), "");
  once.end(notes, caller(0, 4));
  EXPECT_EQ(notes.take(), "0.4=bad") << "another node runs it";
  once.end(notes, caller(1, 5));
  EXPECT_EQ(notes.take(), "0.2=0 2.3=0 1.5=1");
  once.begin(notes, caller(3, 6));
  EXPECT_EQ(notes.take(), "3.6=0");
}

}  // namespace
}  // namespace dsm::sync
