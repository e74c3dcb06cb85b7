// Blocking: futexes, the lock made of them, and signals held off.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/futex.h"
#include "base/signals.h"

namespace {

TEST(FutexTest, ReturnsAtOnceWhenTheWordDiffers) {
  std::atomic<std::uint32_t> word{1};
  errno = ENOENT;
  dsm::futex_wait(word, 0, dsm::FutexScope::kProcess);
  EXPECT_EQ(errno, ENOENT);
}

TEST(FutexTest, TimeoutEndsTheWait) {
  std::atomic<std::uint32_t> word{0};
  const std::int64_t end = dsm::now_ns() + 1'000'000;
  while (dsm::now_ns() < end) dsm::futex_wait(word, 0, dsm::FutexScope::kProcess, 100'000);
  EXPECT_EQ(word, 0U);
}

TEST(FutexTest, WakesAnotherProcess) {
  void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* word = new (memory) std::atomic<std::uint32_t>{0};
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    while (word->load() == 0) dsm::futex_wait(*word, 0, dsm::FutexScope::kShared);
    word->store(2);
    dsm::futex_wake(*word, 1, dsm::FutexScope::kShared);
    _exit(0);
  }
  word->store(1);
  dsm::futex_wake(*word, 1, dsm::FutexScope::kShared);
  while (word->load() == 1) dsm::futex_wait(*word, 1, dsm::FutexScope::kShared);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(word->load(), 2U);
  munmap(memory, 4096);
}

TEST(FutexLockTest, LetsOneThreadInAtATime) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20'000;
  dsm::FutexLock lock;
  long plain_counter = 0;  // not atomic: lost updates would show
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const std::lock_guard guard{lock};
        const long seen = plain_counter;
        if (round % 64 == 0) std::this_thread::yield();  // so that others find the lock held, and sleep
        plain_counter = seen + 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(plain_counter, long{kThreads} * kRounds);
}

TEST(FutexLockTest, TryLockTellsWhetherItIsHeld) {
  dsm::FutexLock lock;
  EXPECT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST(FutexLockDeathTest, UnlockOfAFreeLockIsABug) {
  dsm::FutexLock lock;
  EXPECT_EXIT(lock.unlock(), testing::KilledBySignal(SIGABRT), "nobody holds");
}

volatile std::sig_atomic_t handled = 0;

TEST(SignalsBlockedTest, HandlersWaitForTheEndOfTheScope) {
  struct sigaction action {};
  struct sigaction previous {};
  action.sa_handler = [](int) { handled = handled + 1; };
  ASSERT_EQ(sigaction(SIGUSR1, &action, &previous), 0);
  handled = 0;
  {
    const dsm::SignalsBlocked outer;
    {
      const dsm::SignalsBlocked inner;
      ASSERT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
    }
    EXPECT_EQ(handled, 0);
  }
  EXPECT_EQ(handled, 1);
  ASSERT_EQ(sigaction(SIGUSR1, &previous, nullptr), 0);
}

}  // namespace
