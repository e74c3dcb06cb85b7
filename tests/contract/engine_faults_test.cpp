// What the sink is told about an access, and what the access then sees.
#include <cerrno>
#include <thread>

#include "base/clock.h"
#include "engine_rig.h"

namespace dsm::mem {
namespace {

using EngineFaults = EngineContract;

TEST_P(EngineFaults, ReadIsToldAsRead) {
  Rig rig(GetParam());
  const PageId page = rig.foreign + 7;
  rig.served(page, 3) = 42;
  EXPECT_EQ(rig.app(page, 3), 42U);
  EXPECT_EQ(rig.sink.reads, 1);
  EXPECT_EQ(rig.sink.writes, 0);
  EXPECT_EQ(rig.sink.last_address, rig.geometry.address_of(page) + 24);
  EXPECT_EQ(rig.sink.last_tid, current_tid());
}

TEST_P(EngineFaults, WriteIsToldAsWriteAndReachesTheServiceView) {
  Rig rig(GetParam());
  const PageId page = rig.interleaved + 5;
  rig.served(page) = 1;
  rig.app(page, 1) = 99;
  EXPECT_EQ(rig.sink.reads, 0);
  EXPECT_EQ(rig.sink.writes, 1);
  EXPECT_EQ(rig.served(page), 1U);
  EXPECT_EQ(rig.served(page, 1), 99U);
  EXPECT_EQ(rig.faults_of_read(page), 0);
}

TEST_P(EngineFaults, WriteAfterReadFaultsOnceMore) {
  Rig rig(GetParam());
  const PageId page = rig.foreign;
  rig.served(page) = 5;
  EXPECT_EQ(rig.faults_of_read(page), 1);
  EXPECT_EQ(rig.faults_of_read(page), 0);
  EXPECT_EQ(rig.faults_of_write(page, 6), 1);
  EXPECT_EQ(rig.sink.writes, 1);
  EXPECT_EQ(rig.faults_of_write(page, 7), 0);
  EXPECT_EQ(rig.served(page), 7U);
}

// Nobody ever wrote the page: it is not in the memory file yet.
TEST_P(EngineFaults, HoleReadsAsZeroAndCanBeWritten) {
  Rig rig(GetParam());
  EXPECT_EQ(rig.app(rig.foreign + 1), 0U);
  EXPECT_EQ(rig.sink.reads, 1);
  rig.app(rig.foreign + 2) = 8;
  EXPECT_EQ(rig.sink.writes, 1);
  EXPECT_EQ(rig.served(rig.foreign + 2), 8U);
}

TEST_P(EngineFaults, EachThreadIsNamed) {
  Rig rig(GetParam());
  pid_t tid = 0;
  std::thread other([&] {
    tid = current_tid();
    rig.app(rig.foreign + 9) = 1;
  });
  other.join();
  EXPECT_NE(tid, current_tid());
  EXPECT_EQ(rig.sink.last_tid, tid);
}

TEST_P(EngineFaults, ErrnoIsLeftAlone) {
  Rig rig(GetParam());
  rig.sink.script = [&](std::uintptr_t address, Access wanted, pid_t) {
    errno = EIO;
    return rig.grant(address, wanted);
  };
  errno = ENOTTY;
  rig.app(rig.foreign + 3) = 1;
  EXPECT_EQ(errno, ENOTTY);
}

// A retry that gave nothing is asked again; it must not be lost, nor end the program.
TEST_P(EngineFaults, RetryWithoutAccessIsAskedAgain) {
  Rig rig(GetParam());
  std::atomic<int> asked{0};
  rig.sink.script = [&](std::uintptr_t address, Access wanted, pid_t) {
    if (asked.fetch_add(1) < 3) return FaultVerdict::kRetry;
    return rig.grant(address, wanted);
  };
  rig.app(rig.foreign + 3) = 1;
  EXPECT_EQ(asked, 4);
}

// Both map the page; the second finds it there.
TEST_P(EngineFaults, ManyThreadsFaultOnOnePage) {
  Rig rig(GetParam());
  FutexLock lock;
  rig.sink.script = [&](std::uintptr_t address, Access wanted, pid_t) {
    lock.lock();
    const auto verdict = rig.grant(address, wanted);
    lock.unlock();
    return verdict;
  };
  constexpr int kThreads = 4;
  for (PageId page = rig.foreign; page < rig.foreign + 200; ++page) {
    std::atomic<int> ready{0};
    std::array<std::thread, kThreads> threads;
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads[i] = std::thread([&, i] {
        ready.fetch_add(1);
        while (ready < kThreads) sched_yield();
        rig.app(page, i) = page + i;
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < kThreads; ++i) ASSERT_EQ(rig.served(page, i), page + i);
  }
}

// A thread engine may answer later; map() then ends the wait.
TEST_P(EngineFaults, PendingEndsWithMapAndWithRaise) {
  Rig rig(GetParam());
  if (rig.engine->faults_inline()) return;  // kPending is not for these
  std::atomic<int> told{0};
  rig.sink.script = [&](std::uintptr_t, Access, pid_t) {
    told.fetch_add(1);
    return FaultVerdict::kPending;
  };
  const PageRange page{rig.foreign + 4, 1};
  std::thread program([&] {
    rig.load(page.first);
    rig.app(page.first) = 17;
  });
  while (told < 1) std::this_thread::yield();
  rig.engine->map(page, Access::kRead);
  while (told < 2) std::this_thread::yield();
  rig.engine->raise(page);
  program.join();
  EXPECT_EQ(rig.served(page.first), 17U);
}

// map() of a page that is mapped already ends the wait too: the fault was told late.
TEST_P(EngineFaults, MapOfAMappedPageEndsTheWait) {
  Rig rig(GetParam());
  if (rig.engine->faults_inline()) return;
  std::atomic<int> told{0};
  rig.sink.script = [&](std::uintptr_t, Access, pid_t) {
    told.fetch_add(1);
    return FaultVerdict::kPending;
  };
  const PageRange page{rig.foreign + 4, 1};
  rig.engine->map(page, Access::kRead);
  std::thread program([&] { rig.app(page.first) = 23; });
  while (told < 1) std::this_thread::yield();
  rig.engine->map(page, Access::kWrite);
  program.join();
  EXPECT_EQ(rig.served(page.first), 23U);
}

// A system call that is handed a missing page: served by the thread engine, EFAULT with the others.
TEST_P(EngineFaults, SystemCallOnAMissingPage) {
  Rig rig(GetParam());
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::uint64_t sent = 77;
  ASSERT_EQ(write(ends[1], &sent, sizeof sent), 8);
  void* missing = reinterpret_cast<void*>(rig.geometry.address_of(rig.foreign + 6));
  const ssize_t got = read(ends[0], missing, sizeof sent);
  if (rig.engine->faults_inline()) {
    EXPECT_EQ(got, -1);
    EXPECT_EQ(errno, EFAULT);
    EXPECT_EQ(rig.faults(), 0);
  } else {
    EXPECT_EQ(got, 8);
    EXPECT_EQ(rig.served(rig.foreign + 6), 77U);
    EXPECT_EQ(rig.sink.writes, 1);
    rig.served(rig.foreign + 8) = 78;
    EXPECT_EQ(write(ends[1], reinterpret_cast<void*>(rig.geometry.address_of(rig.foreign + 8)), 8), 8);
    EXPECT_EQ(rig.sink.reads, 1);
    std::uint64_t back = 0;
    EXPECT_EQ(read(ends[0], &back, sizeof back), 8);
    EXPECT_EQ(back, 78U);
  }
  close(ends[0]);
  close(ends[1]);
}

FOR_ALL_ENGINES(EngineFaults);

}  // namespace
}  // namespace dsm::mem
