#include "sync/objects.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace dsm::sync {
namespace {

// Who got an answer: "node.call=value" each, in order.
std::string text(Answers& answers) {
  std::string all;
  for (const auto& [caller, value] : answers) {
    const std::string said = value == kBadArgument ? "bad" : fmt::format("{}", value);
    all += fmt::format("{}{}.{}={}", all.empty() ? "" : " ", caller.node, caller.call, said);
  }
  answers.clear();
  return all;
}

Caller caller(NodeId node, std::uint32_t call) { return {node, call}; }

TEST(Barrier, LetsAllGoWhenTheLastComesAndBeginsAgain) {
  Barrier barrier;
  Answers answers;
  for (int phase = 0; phase < 2; ++phase) {
    barrier.arrive(caller(0, 7), 3, answers);
    barrier.arrive(caller(1, 7), 3, answers);
    EXPECT_EQ(text(answers), "");
    EXPECT_EQ(barrier.waiting(), 2U);
    barrier.arrive(caller(1, 8), 3, answers);
    EXPECT_EQ(text(answers), "0.7=1 1.7=1 1.8=1");
    EXPECT_EQ(barrier.waiting(), 0U);
  }
}

TEST(Barrier, RefusesWhoDisagreesAboutTheParties) {
  Barrier barrier;
  Answers answers;
  barrier.arrive(caller(0, 1), 0, answers);
  EXPECT_EQ(text(answers), "0.1=bad");
  barrier.arrive(caller(0, 1), 2, answers);
  barrier.arrive(caller(1, 1), 3, answers);
  EXPECT_EQ(text(answers), "1.1=bad");
  barrier.arrive(caller(1, 2), 2, answers);
  EXPECT_EQ(text(answers), "0.1=1 1.2=1");
}

TEST(Semaphore, ServesInTheOrderOfComing) {
  Semaphore semaphore;
  Answers answers;
  semaphore.release(caller(0, 0), 1, answers);
  semaphore.acquire(caller(0, 1), answers);
  EXPECT_EQ(text(answers), "0.0=1 0.1=1");
  semaphore.acquire(caller(2, 2), answers);
  semaphore.acquire(caller(1, 3), answers);
  semaphore.acquire(caller(2, 4), answers);
  EXPECT_EQ(text(answers), "");
  semaphore.try_acquire(caller(3, 5), answers);
  EXPECT_EQ(text(answers), "3.5=0");
  semaphore.release(caller(0, 6), 2, answers);
  EXPECT_EQ(text(answers), "2.2=1 1.3=1 0.6=1");
  EXPECT_EQ(semaphore.waiting(), 1U);
  semaphore.release(caller(0, 7), 2, answers);
  EXPECT_EQ(text(answers), "2.4=1 0.7=1");
  semaphore.try_acquire(caller(3, 8), answers);
  semaphore.try_acquire(caller(3, 9), answers);
  EXPECT_EQ(text(answers), "3.8=1 3.9=0");
}

TEST(Semaphore, RefusesACountThatCannotBe) {
  Semaphore semaphore;
  Answers answers;
  semaphore.release(caller(0, 1), Semaphore::kMostCount, answers);
  semaphore.release(caller(0, 2), 1, answers);
  semaphore.release(caller(0, 3), ~std::uint64_t{0}, answers);
  EXPECT_EQ(text(answers), "0.1=1 0.2=bad 0.3=bad");
}

TEST(Condition, NotifiesTheLongestWaiting) {
  Condition condition;
  Answers answers;
  condition.notify(caller(9, 0), 1, answers);
  EXPECT_EQ(text(answers), "9.0=1") << "nobody waits: nothing is remembered";
  for (std::uint32_t call = 1; call <= 4; ++call) condition.wait(caller(0, call));
  condition.notify(caller(9, 5), 1, answers);
  EXPECT_EQ(text(answers), "0.1=1 9.5=1");
  condition.notify(caller(9, 6), ~std::uint64_t{0}, answers);
  EXPECT_EQ(text(answers), "0.2=1 0.3=1 0.4=1 9.6=1");
  EXPECT_EQ(condition.waiting(), 0U);
}

TEST(Condition, CancelsThatWaitOnly) {
  Condition condition;
  Answers answers;
  condition.wait(caller(0, 1));
  condition.wait(caller(1, 1));
  condition.cancel(caller(1, 2), 1, answers);
  EXPECT_EQ(text(answers), "1.1=0 1.2=1");
  condition.cancel(caller(1, 3), 1, answers);
  EXPECT_EQ(text(answers), "1.3=1") << "already answered";
  condition.notify(caller(2, 4), 1, answers);
  EXPECT_EQ(text(answers), "0.1=1 2.4=1");
}

TEST(Once, RunsOnceAndTheOthersWaitForItsEnd) {
  Once once;
  Answers answers;
  once.begin(caller(1, 1), answers);
  EXPECT_EQ(text(answers), "1.1=1");
  once.begin(caller(0, 2), answers);
  once.begin(caller(2, 3), answers);
  EXPECT_EQ(text(answers), "");
  once.end(caller(0, 4), answers);
  EXPECT_EQ(text(answers), "0.4=bad") << "another node runs it";
  once.end(caller(1, 5), answers);
  EXPECT_EQ(text(answers), "0.2=0 2.3=0 1.5=1");
  once.begin(caller(3, 6), answers);
  EXPECT_EQ(text(answers), "3.6=0");
}

}  // namespace
}  // namespace dsm::sync
