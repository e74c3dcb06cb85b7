// map, raise, lower and unmap: alone, over ranges, on pages in any state, and under running readers and writers.
#include <cstring>
#include <thread>
#include <vector>

#include "engine_rig.h"

namespace dsm::mem {
namespace {

using EnginePermissions = EngineContract;

TEST_P(EnginePermissions, MapReadAllowsReadsOnly) {
  Rig rig(GetParam());
  const PageId page = rig.foreign + 3;
  rig.served(page) = 11;
  rig.engine->map({page, 1}, Access::kRead);
  EXPECT_EQ(rig.faults_of_read(page), 0);
  EXPECT_EQ(rig.app(page), 11U);
  EXPECT_EQ(rig.faults_of_write(page, 12), 1);
}

TEST_P(EnginePermissions, RaiseLowerUnmap) {
  Rig rig(GetParam());
  const PageId page = rig.foreign + 3;
  rig.engine->map({page, 1}, Access::kRead);
  rig.engine->raise({page, 1});
  EXPECT_EQ(rig.faults_of_write(page, 1), 0);
  rig.engine->lower({page, 1});
  EXPECT_EQ(rig.faults_of_read(page), 0);
  EXPECT_EQ(rig.faults_of_write(page, 2), 1);
  rig.engine->unmap({page, 1});
  EXPECT_EQ(rig.served(page), 2U);
  EXPECT_EQ(rig.faults_of_read(page), 1);
  EXPECT_EQ(rig.app(page), 2U);
}

TEST_P(EnginePermissions, UnmapOfAReadablePageThenWrite) {
  Rig rig(GetParam());
  const PageId page = rig.foreign + 3;
  rig.engine->map({page, 1}, Access::kRead);
  rig.engine->unmap({page, 1});
  EXPECT_EQ(rig.faults_of_write(page, 4), 1);
  EXPECT_EQ(rig.sink.writes, 1);
  EXPECT_EQ(rig.faults_of_write(page, 5), 0);
}

TEST_P(EnginePermissions, MapSetsThePermissionOfAMappedPage) {
  Rig rig(GetParam());
  const PageId page = rig.foreign + 3;
  rig.engine->map({page, 1}, Access::kRead);
  rig.engine->map({page, 1}, Access::kWrite);
  EXPECT_EQ(rig.faults_of_write(page, 1), 0);
  rig.engine->map({page, 1}, Access::kWrite);
  EXPECT_EQ(rig.faults_of_write(page, 2), 0);
  rig.engine->map({page, 1}, Access::kRead);
  EXPECT_EQ(rig.faults_of_read(page), 0);
  EXPECT_EQ(rig.faults_of_write(page, 3), 1);
}

// Across chunks, and over a page that has bytes already.
TEST_P(EnginePermissions, BringPutsBytesInPlaceAndMapsThem) {
  Rig rig(GetParam());
  const PageRange range{rig.foreign + 510, 4};
  rig.served(range.first + 1) = 77;
  std::vector<std::uint64_t> bytes(range.count * kPageBytes / sizeof(std::uint64_t));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = i + 1;
  rig.engine->bring(range, reinterpret_cast<const std::byte*>(bytes.data()), Access::kRead);
  for (PageId page = range.first; page < range.first + range.count; ++page) {
    for (const std::size_t word : {0U, 511U}) {
      EXPECT_EQ(rig.served(page, word), (page - range.first) * 512 + word + 1);
      EXPECT_EQ(rig.app(page, word), (page - range.first) * 512 + word + 1);
    }
  }
  EXPECT_EQ(rig.faults(), 0);
  EXPECT_EQ(rig.faults_of_write(range.first, 1), 1);
}

TEST_P(EnginePermissions, UnmapAllTakesManyRangesAtOnce) {
  Rig rig(GetParam());
  std::vector<PageRange> ranges;
  for (PageId page = rig.foreign; page < rig.foreign + 600; page += 3) ranges.push_back({page, 2});
  rig.engine->map({rig.foreign, 600}, Access::kWrite);
  for (PageId page = rig.foreign; page < rig.foreign + 600; ++page) rig.app(page) = page + 1;
  rig.engine->unmap_all(ranges);
  for (PageId page = rig.foreign; page < rig.foreign + 600; ++page) {
    EXPECT_EQ(rig.faults_of_read(page), page % 3 == 2 ? 0 : 1) << page;
    EXPECT_EQ(rig.app(page), page + 1);
  }
}

// Across chunks, with holes, and with pages that are mapped already in between.
TEST_P(EnginePermissions, RangesInAnyState) {
  Rig rig(GetParam());
  const PageRange range{rig.foreign + 300, 700};
  for (PageId page = range.first; page < range.first + range.count; page += 3) rig.served(page) = page;
  rig.engine->map({range.first + 10, 5}, Access::kWrite);
  rig.engine->map({range.first + 240, 30}, Access::kRead);
  rig.engine->map(range, Access::kRead);
  for (PageId page = range.first; page < range.first + range.count; ++page) {
    ASSERT_EQ(rig.faults_of_read(page), 0);
    ASSERT_EQ(rig.app(page), (page - range.first) % 3 == 0 ? page : 0);
  }
  ASSERT_EQ(rig.faults_of_write(range.first + 12, 1), 1);  // had write access, was mapped to read
  rig.engine->raise(range);
  for (PageId page = range.first; page < range.first + range.count; ++page) ASSERT_EQ(rig.faults_of_write(page, 1), 0);
  rig.engine->lower(range);
  ASSERT_EQ(rig.faults_of_read(range.first + 699), 0);
  ASSERT_EQ(rig.faults_of_write(range.first + 699, 2), 1);
  ASSERT_EQ(rig.faults_of_write(range.first, 2), 1);
  rig.engine->unmap(range);
  for (PageId page = range.first; page < range.first + range.count; ++page) ASSERT_EQ(rig.faults_of_read(page), 1);
}

TEST_P(EnginePermissions, RangesTouchNoNeighbour) {
  Rig rig(GetParam());
  const PageId first = rig.foreign + 100;
  rig.engine->map({first, 30}, Access::kWrite);
  rig.engine->lower({first + 10, 10});
  rig.engine->unmap({first + 13, 4});
  for (PageId page = first; page < first + 30; ++page) {
    const PageId at = page - first;
    const int expected = at >= 10 && at < 20 ? 1 : 0;
    ASSERT_EQ(rig.faults_of_write(page, 1), expected) << "page " << at;
  }
  EXPECT_EQ(rig.faults_of_read(first - 1), 1);
  EXPECT_EQ(rig.faults_of_read(first + 30), 1);
}

TEST_P(EnginePermissions, PagesOfALockedAreaCanBeTakenAway) {
  Rig rig(GetParam());
  const PageId first = rig.foreign + 40;
  rig.engine->map({first, 16}, Access::kWrite);
  void* const locked = reinterpret_cast<void*>(rig.geometry.address_of(first + 4));
  ASSERT_EQ(mlock(locked, 4 * kPageBytes), 0);  // splits the memory area, too
  rig.engine->unmap({first, 16});
  for (PageId page = first; page < first + 16; ++page) ASSERT_EQ(rig.faults_of_write(page, 1), 1);
  rig.engine->unmap({first, 16});
  rig.engine->map({first, 16}, Access::kRead);
  rig.engine->raise({first, 16});
  for (PageId page = first; page < first + 16; ++page) ASSERT_EQ(rig.faults_of_write(page, 2), 0);
  ASSERT_EQ(munlock(locked, 4 * kPageBytes), 0);
}

// One page under fire: the program's threads run, and the test closes and opens the page. While it is closed, faults
// wait.
class Gate {
 public:
  Gate(Rig& rig, PageId page) : rig_(rig), page_(page) {
    rig.sink.script = [this](std::uintptr_t address, Access wanted, pid_t) { return answer(address, wanted); };
  }

  template <typename F>
  void close(F take_away) {
    lock_.lock();
    closed_ = true;
    take_away();
    lock_.unlock();
  }
  void open(Access access) {
    lock_.lock();
    closed_ = false;
    rig_.engine->map({page_, 1}, access);
    lock_.unlock();
  }

 private:
  FaultVerdict answer(std::uintptr_t address, Access wanted) {
    while (true) {
      while (closed_ && rig_.engine->faults_inline()) sched_yield();
      lock_.lock();
      if (!closed_ || !rig_.engine->faults_inline()) break;
      lock_.unlock();
    }
    const auto verdict = closed_ ? FaultVerdict::kPending : rig_.grant(address, wanted);
    lock_.unlock();
    return verdict;
  }

  Rig& rig_;
  PageId page_;
  FutexLock lock_;
  std::atomic<bool> closed_{false};  // changes with the lock held
};

// After lower() has returned no store succeeds, though a thread stores all the time.
TEST_P(EnginePermissions, LowerStopsRunningWriters) {
  Rig rig(GetParam());
  const PageId page = rig.foreign + 20;
  Gate gate(rig, page);
  std::atomic<bool> stop{false};
  std::uint64_t stored[2] = {0, 0};
  std::array<std::thread, 2> writers;
  for (std::size_t i = 0; i < 2; ++i) {
    writers[i] = std::thread([&, i] {
      while (!stop) rig.app(page, i) = ++stored[i];
    });
  }
  for (int round = 0; round < 100; ++round) {
    gate.close([&] { rig.engine->lower({page, 1}); });
    const std::uint64_t before[2] = {rig.served(page, 0), rig.served(page, 1)};
    for (int look = 0; look < 200; ++look) {
      ASSERT_EQ(rig.served(page, 0), before[0]);
      ASSERT_EQ(rig.served(page, 1), before[1]);
    }
    gate.open(Access::kWrite);
    while (rig.served(page, 0) == before[0] || rig.served(page, 1) == before[1]) sched_yield();
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(rig.served(page, i), stored[i]);
}

// After unmap() has returned no load succeeds: what the runtime then writes stays unseen until the page is mapped
// again.
TEST_P(EnginePermissions, UnmapStopsRunningReaders) {
  Rig rig(GetParam());
  const PageId page = rig.foreign + 21;
  Gate gate(rig, page);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> seen{0};
  std::thread reader([&] {
    while (!stop) seen = rig.app(page);
  });
  for (std::uint64_t round = 1; round <= 100; ++round) {
    gate.close([&] { rig.engine->unmap({page, 1}); });
    rig.served(page) = round;
    for (int look = 0; look < 200; ++look) ASSERT_LT(seen, round);
    gate.open(Access::kRead);
    while (seen != round) sched_yield();
  }
  stop = true;
  reader.join();
}

// The same for stores, and none is lost: the page keeps its bytes.
TEST_P(EnginePermissions, UnmapStopsRunningWritersAndLosesNothing) {
  Rig rig(GetParam());
  const PageId page = rig.foreign + 22;
  Gate gate(rig, page);
  std::atomic<bool> stop{false};
  std::uint64_t added = 0;
  std::thread writer([&] {
    while (!stop) {
      rig.app(page) = rig.app(page) + 1;
      ++added;
    }
  });
  for (int round = 0; round < 100; ++round) {
    gate.close([&] { rig.engine->unmap({page, 1}); });
    const std::uint64_t before = rig.served(page);
    for (int look = 0; look < 200; ++look) ASSERT_EQ(rig.served(page), before);
    gate.open(round % 2 == 0 ? Access::kRead : Access::kWrite);
    while (rig.served(page) == before) sched_yield();
  }
  stop = true;
  writer.join();
  EXPECT_EQ(rig.served(page), added);
}

FOR_ALL_ENGINES(EnginePermissions);

}  // namespace
}  // namespace dsm::mem
