// Accesses that are stepped over: the sink is told once, by the thread, when just this access has run.
#include <csetjmp>
#include <csignal>
#include <cstring>
#include <vector>

#include "base/clock.h"
#include "engine_rig.h"
#include "mem/fault_signal.h"

namespace dsm::mem {
namespace {

// A store behind which the compiler expects anything to have changed: the sink runs within it.
void store(volatile std::uint64_t& word, std::uint64_t value) {
  asm volatile("" : : : "memory");
  word = value;
  asm volatile("" : : : "memory");
}

class EngineSteps : public EngineContract {
 protected:
  void SetUp() override {
    EngineContract::SetUp();
    if (!IsSkipped() && GetParam() == "uffd-thread") GTEST_SKIP() << "this engine resolves in a thread of its own";
  }

  // Every page is granted as it is wanted, to be stepped over; what has run is closed again.
  static void step_all(Rig& rig, std::vector<std::uintptr_t>& ran) {
    ran.reserve(1024);  // nothing is allocated in a handler
    rig.sink.script = [&rig](std::uintptr_t address, Access wanted, pid_t) {
      rig.grant(address, wanted);
      return FaultVerdict::kStep;
    };
    rig.sink.ran = [&rig, &ran](std::uintptr_t address, pid_t tid) {
      EXPECT_EQ(tid, current_tid());
      rig.engine->unmap({rig.geometry.page_of(address), 1});
      ran.push_back(address);
    };
  }
};

TEST_P(EngineSteps, EveryStoreIsToldWhenItHasRun) {
  Rig rig(GetParam());
  std::vector<std::uintptr_t> ran;
  step_all(rig, ran);
  const auto seen = rig.sink.ran;
  std::uint64_t due = 0;
  rig.sink.ran = [&](std::uintptr_t address, pid_t tid) {
    EXPECT_EQ(rig.served(rig.foreign + 3, 1), due);
    seen(address, tid);
  };
  for (due = 1; due <= 100; ++due) store(rig.app(rig.foreign + 3, 1), due);
  EXPECT_EQ(ran.size(), 100U);
  EXPECT_EQ(rig.sink.writes, 100);
  EXPECT_EQ(ran.back(), rig.geometry.address_of(rig.foreign + 3) + 8);
}

TEST_P(EngineSteps, OnlyTheOneInstructionIsSteppedOver) {
  Rig rig(GetParam());
  int ran = 0;
  rig.sink.script = [&](std::uintptr_t address, Access wanted, pid_t) {
    rig.grant(address, wanted);
    return FaultVerdict::kStep;
  };
  rig.sink.ran = [&](std::uintptr_t, pid_t) { ++ran; };
  for (std::uint64_t i = 0; i < 1000; ++i) store(rig.app(rig.foreign, i % 512), i);
  EXPECT_EQ(ran, 1);
}

// One instruction that faults at two pages: the second fault comes within the step of the first.
TEST_P(EngineSteps, AnAccessOfTwoPagesRunsWhole) {
  Rig rig(GetParam());
  std::vector<std::uintptr_t> ran;
  step_all(rig, ran);
  const std::uintptr_t edge = rig.geometry.address_of(rig.foreign + 6);
  std::uint64_t value = 0x1122334455667788;
  asm volatile("mov %1, (%0)" : : "r"(edge - 4), "r"(value) : "memory");
  std::uint64_t stored = 0;
  std::memcpy(&stored, rig.service + (rig.foreign + 6) * kPageBytes - 4, sizeof stored);
  EXPECT_EQ(stored, value);
  EXPECT_EQ(ran.size(), 1U);
}

// A copy by one repeating instruction is interrupted within; nothing of it is lost or done twice.
TEST_P(EngineSteps, ARepeatingInstructionGoesOn) {
  Rig rig(GetParam());
  std::vector<std::uintptr_t> ran;
  step_all(rig, ran);
  std::vector<std::uint64_t> source(64);
  for (std::uint64_t i = 0; i < source.size(); ++i) source[i] = i + 1;
  std::uintptr_t to = rig.geometry.address_of(rig.foreign + 8), from = reinterpret_cast<std::uintptr_t>(source.data());
  std::size_t count = source.size();
  asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  for (std::uint64_t i = 0; i < source.size(); ++i) EXPECT_EQ(rig.served(rig.foreign + 8, i), i + 1);
  EXPECT_EQ(ran.size(), source.size());
}

// Who has blocked the signal would die of it: such a store is just let run.
TEST_P(EngineSteps, ABlockedTrapIsNotRaised) {
  EXPECT_EQ(in_child([] {
              Rig rig(GetParam());
              std::vector<std::uintptr_t> ran;
              step_all(rig, ran);
              sigset_t trap;
              sigemptyset(&trap);
              sigaddset(&trap, SIGTRAP);
              sigprocmask(SIG_BLOCK, &trap, nullptr);
              store(rig.app(rig.foreign), 5);
              _exit(ran.empty() && rig.served(rig.foreign) == 5 ? 0 : 1);
            }),
            0);
}

volatile sig_atomic_t traps = 0;
void count_trap(int) { traps = traps + 1; }

// The program's own breakpoints reach its own handler, whether that came before ours or after.
TEST_P(EngineSteps, TheProgramKeepsItsTraps) {
  EXPECT_EQ(in_child([] {
              std::signal(SIGTRAP, count_trap);
              Rig rig(GetParam());
              std::vector<std::uintptr_t> ran;
              step_all(rig, ran);
              store(rig.app(rig.foreign), 5);
              if (traps != 0 || ran.size() != 1) _exit(1);
              asm volatile("int3");
              if (traps != 1) _exit(2);
              store(rig.app(rig.foreign), 6);
              _exit(traps == 1 && ran.size() == 2 ? 0 : 3);
            }),
            0);
  EXPECT_EQ(in_child([] {
              Rig rig(GetParam());
              std::vector<std::uintptr_t> ran;
              step_all(rig, ran);
              std::signal(SIGTRAP, count_trap);  // ours is gone: no store is stepped over
              store(rig.app(rig.foreign), 5);
              if (traps != 0 || !ran.empty()) _exit(1);
              asm volatile("int3");
              _exit(traps == 1 && rig.served(rig.foreign) == 5 ? 0 : 2);
            }),
            0);
}

TEST_P(EngineSteps, ATrapThatNobodyExpectsEndsTheProgram) {
  EXPECT_EQ(in_child([] {
              Rig rig(GetParam());
              asm volatile("int3");
            }),
            -SIGTRAP);
}

sigjmp_buf way_out;
void leave(int) { siglongjmp(way_out, 1); }

// The program's handler jumps out of a store that is being stepped over and finds its second page forbidden: the next
// store is stepped over as ever.
TEST_P(EngineSteps, AJumpOutOfAStepEndsIt) {
  EXPECT_EQ(in_child([] {
              std::signal(SIGSEGV, leave);
              Rig rig(GetParam());
              std::vector<std::uintptr_t> ran;
              step_all(rig, ran);
              auto grant = rig.sink.script;
              const PageId bad = rig.foreign + 6;
              rig.sink.script = [&](std::uintptr_t address, Access wanted, pid_t tid) {
                return rig.geometry.page_of(address) == bad ? FaultVerdict::kNotOurs : grant(address, wanted, tid);
              };
              if (sigsetjmp(way_out, 1) == 0) {
                asm volatile("movq $1, (%0)" : : "r"(rig.geometry.address_of(bad) - 4) : "memory");
                _exit(1);
              }
              if (!ran.empty()) _exit(2);
              store(rig.app(rig.foreign), 1);
              _exit(ran.size() == 1 ? 0 : 3);
            }),
            0);
}

FOR_ALL_ENGINES(EngineSteps);

}  // namespace
}  // namespace dsm::mem
