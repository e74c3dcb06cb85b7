// Accesses that the sink makes in the program's stead, on pages that the program never gets: it goes on behind them as
// if it had them. What emulate_access() knows of the instructions themselves tests/unit/emulated_access_test.cpp has.
#include <atomic>
#include <cstring>
#include <vector>

#include "engine_rig.h"
#include "mem/emulated_access.h"

namespace dsm::mem {
namespace {

class EngineEmulation : public EngineContract {
 protected:
  void SetUp() override {
    EngineContract::SetUp();
    if (!IsSkipped() && GetParam() == "uffd-thread") GTEST_SKIP() << "this engine resolves in a thread of its own";
  }

  // Every access that can be is made for the program; `granted` counts those that cannot, which get the page.
  static void make_all(Rig& rig, int& granted) {
    rig.sink.whole = [&rig, &granted](const Fault& fault) {
      std::byte* const where = rig.service + (fault.address - rig.geometry.base);
      if (fault.context != nullptr && emulate_access(*fault.context, fault.address, where, fault.wanted)) {
        return FaultVerdict::kRetry;
      }
      ++granted;
      return rig.grant(fault.address, fault.wanted);
    };
  }
};

TEST_P(EngineEmulation, NoPageIsNeededToLoadAndStore) {
  Rig rig(GetParam());
  int granted = 0;
  make_all(rig, granted);
  for (std::uint64_t i = 1; i <= 100; ++i) {
    rig.app(rig.foreign + 3, i % 8) = i;
    EXPECT_EQ(rig.served(rig.foreign + 3, i % 8), i);
    rig.served(rig.foreign + 3, i % 8) = i * 1000;
    EXPECT_EQ(rig.app(rig.foreign + 3, i % 8), i * 1000);
  }
  EXPECT_EQ(rig.sink.writes, 100);
  EXPECT_EQ(rig.sink.reads, 100);
  EXPECT_EQ(granted, 0);
}

TEST_P(EngineEmulation, AtomicsOfTheLanguageAreKnown) {
  Rig rig(GetParam());
  int granted = 0;
  make_all(rig, granted);
  const auto try_all = [&](auto zero) {
    using Word = decltype(zero);
    auto& word = *reinterpret_cast<std::atomic<Word>*>(rig.geometry.address_of(rig.foreign + 4) + 64);
    word.store(5);
    EXPECT_EQ(word.fetch_add(3), 5);
    EXPECT_EQ(word.exchange(40), 8);
    Word expected = 41;
    EXPECT_FALSE(word.compare_exchange_strong(expected, 1));
    EXPECT_EQ(expected, 40);
    EXPECT_TRUE(word.compare_exchange_strong(expected, 2));
    word.fetch_or(12);
    word.fetch_and(10);
    word.fetch_xor(3);
    word.fetch_sub(1);
    ++word;
    EXPECT_EQ(word.load(), 9);
  };
  try_all(std::uint8_t{0});
  try_all(std::uint16_t{0});
  try_all(std::uint32_t{0});
  try_all(std::uint64_t{0});
  EXPECT_EQ(granted, 0);
}

// The second page of an access to two is not where it begins, and a repeating instruction makes more than one: they get
// their pages and run whole.
TEST_P(EngineEmulation, WhatIsNoSingleWordGetsThePage) {
  Rig rig(GetParam());
  int granted = 0;
  make_all(rig, granted);
  const std::uintptr_t edge = rig.geometry.address_of(rig.foreign + 6);
  const std::uint64_t value = 0x1122334455667788;
  asm volatile("mov %1, (%0)" : : "r"(edge - 4), "r"(value) : "memory");
  std::uint64_t stored = 0;
  std::memcpy(&stored, rig.service + (rig.foreign + 6) * kPageBytes - 4, sizeof stored);
  EXPECT_EQ(stored, value);
  EXPECT_EQ(granted, 2);

  std::vector<std::uint64_t> source(64);
  for (std::uint64_t i = 0; i < source.size(); ++i) source[i] = i + 1;
  std::uintptr_t to = rig.geometry.address_of(rig.foreign + 8), from = reinterpret_cast<std::uintptr_t>(source.data());
  std::size_t count = source.size();
  asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  for (std::uint64_t i = 0; i < source.size(); ++i) EXPECT_EQ(rig.served(rig.foreign + 8, i), i + 1);
  EXPECT_EQ(granted, 3);
}

// A store is refused where this node may only read.
TEST_P(EngineEmulation, AStoreNeedsTheRightToWrite) {
  Rig rig(GetParam());
  int refused = 0;
  rig.sink.whole = [&](const Fault& fault) {
    std::byte* const where = rig.service + (fault.address - rig.geometry.base);
    if (!emulate_access(*fault.context, fault.address, where, Access::kRead)) ++refused;
    return rig.grant(fault.address, fault.wanted);
  };
  rig.app(rig.foreign) = 7;
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(rig.served(rig.foreign), 7U);
}

FOR_ALL_ENGINES(EngineEmulation);

}  // namespace
}  // namespace dsm::mem
