// Faults that are not ours, or that end badly: the program gets what it would have got without us. In forked children,
// since most of them die.
#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstring>
#include <thread>

#include "base/log.h"
#include "engine_rig.h"

namespace dsm::mem {
namespace {

using EngineProgramSignals = EngineContract;

constexpr int kSeen = 42;

volatile std::sig_atomic_t expected_signal = 0;
void* volatile expected_address = nullptr;
bool (*extra_check)() = nullptr;
thread_local sigjmp_buf way_out;
volatile std::sig_atomic_t caught = 0;

void program_handler(int signal, siginfo_t* info, void* context) {
  const bool right = signal == expected_signal && info->si_signo == signal && info->si_addr == expected_address &&
                     info->si_code > 0 && context != nullptr;
  _exit(right && (extra_check == nullptr || extra_check()) ? kSeen : 1);
}

void leaving_handler(int, siginfo_t*, void*) {
  caught = caught + 1;
  siglongjmp(way_out, 1);
}

void install(int signal, void (*handler)(int, siginfo_t*, void*), int extra_flags = 0) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | extra_flags;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGUSR1);
  sigaction(signal, &action, nullptr);
}

void expect(int signal, void* address) {
  expected_signal = signal;
  expected_address = address;
}

void store(void* address) { *static_cast<volatile char*>(address) = 1; }

// The store ends in a handler that leaves by way_out. It is none, so threads may try it together.
__attribute__((noinline, no_sanitize("thread"))) bool store_is_refused(const Rig& rig, PageId page) {
  if (sigsetjmp(way_out, 1) != 0) return true;
  rig.app(page) = 1;
  return false;
}

void* forbidden_page() { return mmap(nullptr, kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

// A page past the end of its file.
void* page_without_file() {
  const int file = memfd_create("empty", MFD_CLOEXEC);
  return mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

TEST_P(EngineProgramSignals, ForeignSegvGoesToTheProgramsHandler) {
  EXPECT_EQ(in_child([] {
              install(SIGSEGV, program_handler);
              Rig rig(GetParam());
              expect(SIGSEGV, forbidden_page());
              store(expected_address);
            }),
            kSeen);
}

TEST_P(EngineProgramSignals, ForeignBusGoesToTheProgramsHandler) {
  EXPECT_EQ(in_child([] {
              install(SIGBUS, program_handler);
              Rig rig(GetParam());
              expect(SIGBUS, page_without_file());
              store(expected_address);
            }),
            kSeen);
}

// Its mask is the one it asked for, not our full one.
TEST_P(EngineProgramSignals, TheProgramsHandlerRunsWithItsOwnMask) {
  if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer runs handlers with all signals blocked";
  EXPECT_EQ(in_child([] {
              install(SIGSEGV, program_handler);
              install(SIGBUS, program_handler);
              Rig rig(GetParam());
              extra_check = [] {
                sigset_t now;
                pthread_sigmask(SIG_SETMASK, nullptr, &now);
                return sigismember(&now, SIGUSR1) == 1 && sigismember(&now, SIGUSR2) == 0 &&
                       sigismember(&now, expected_signal) == 1;
              };
              expect(SIGSEGV, forbidden_page());
              store(expected_address);
            }),
            kSeen);
}

TEST_P(EngineProgramSignals, ForeignFaultWithoutHandlerKillsByTheRightSignal) {
  EXPECT_EQ(in_child([] {
              Rig rig(GetParam());
              store(forbidden_page());
            }),
            -SIGSEGV);
  EXPECT_EQ(in_child([] {
              Rig rig(GetParam());
              store(page_without_file());
            }),
            -SIGBUS);
}

TEST_P(EngineProgramSignals, IgnoredFaultKillsAsTheKernelWould) {
  EXPECT_EQ(in_child([] {
              signal(SIGSEGV, SIG_IGN);
              signal(SIGBUS, SIG_IGN);
              Rig rig(GetParam());
              store(forbidden_page());
            }),
            -SIGSEGV);
}

TEST_P(EngineProgramSignals, SignalsSentByKillAreTheProgramsOwn) {
  for (const int signal : {SIGSEGV, SIGBUS}) {
    EXPECT_EQ(in_child([signal] {
                Rig rig(GetParam());
                kill(getpid(), signal);
                pause();
              }),
              -signal);
  }
}

TEST_P(EngineProgramSignals, OneShotHandlerRunsOnce) {
  EXPECT_EQ(in_child([] {
              install(SIGSEGV, leaving_handler, static_cast<int>(SA_RESETHAND));
              Rig rig(GetParam());
              void* const page = forbidden_page();
              if (sigsetjmp(way_out, 1) == 0) store(page);
              if (caught != 1) _exit(1);
              store(page);
            }),
            -SIGSEGV);
}

TEST_P(EngineProgramSignals, NotOursIsSegv) {
  EXPECT_EQ(in_child([] {
              Rig rig(GetParam());
              rig.sink.script = [](std::uintptr_t, Access, pid_t) { return FaultVerdict::kNotOurs; };
              rig.app(rig.foreign + 1) = 1;
            }),
            -SIGSEGV);
}

TEST_P(EngineProgramSignals, NotOursReachesTheProgramsHandler) {
  EXPECT_EQ(in_child([] {
              install(SIGSEGV, program_handler);
              Rig rig(GetParam());
              rig.sink.script = [](std::uintptr_t, Access, pid_t) { return FaultVerdict::kNotOurs; };
              expect(SIGSEGV, reinterpret_cast<void*>(rig.geometry.address_of(rig.foreign + 1) + 16));
              rig.load(rig.foreign + 1, 2);
            }),
            kSeen);
}

TEST_P(EngineProgramSignals, LostIsBus) {
  EXPECT_EQ(in_child([] {
              Rig rig(GetParam());
              rig.sink.script = [](std::uintptr_t, Access, pid_t) { return FaultVerdict::kLost; };
              rig.load(rig.foreign + 1);
            }),
            -SIGBUS);
}

TEST_P(EngineProgramSignals, LostReachesTheProgramsHandler) {
  EXPECT_EQ(in_child([] {
              install(SIGBUS, program_handler);
              Rig rig(GetParam());
              rig.sink.script = [](std::uintptr_t, Access, pid_t) { return FaultVerdict::kLost; };
              expect(SIGBUS, reinterpret_cast<void*>(rig.geometry.address_of(rig.foreign + 1) + 8));
              rig.app(rig.foreign + 1, 1) = 5;
            }),
            kSeen);
}

// What a program survives may be over later: the page is then as good as any other. Many times, and on more pages than
// a table of refusals could hold.
TEST_P(EngineProgramSignals, ARefusedPageCanBecomeGood) {
  EXPECT_EQ(in_child([] {
              install(SIGSEGV, leaving_handler);
              install(SIGBUS, leaving_handler);
              Rig rig(GetParam());
              std::atomic<bool> good{false};
              rig.sink.script = [&](std::uintptr_t address, Access wanted, pid_t) {
                if (good) return rig.grant(address, wanted);
                return rig.geometry.page_of(address) % 2 == 0 ? FaultVerdict::kNotOurs : FaultVerdict::kLost;
              };
              set_log(LogLevel::kError, 1);
              constexpr PageId kPages = 100;
              for (PageId page = 0; page < kPages; ++page) {
                if (!store_is_refused(rig, rig.foreign + page)) _exit(1);
              }
              if (caught != kPages) _exit(2);
              good = true;
              for (PageId page = 0; page < kPages; ++page) {
                rig.app(rig.foreign + page) = page + 1;
                if (rig.served(rig.foreign + page) != page + 1) _exit(3);
              }
              if (caught != kPages) _exit(4);
            }),
            0);
}

// Threads that are refused one page at the same time all get their signal, and none runs on.
TEST_P(EngineProgramSignals, ManyThreadsAreRefusedOnePage) {
  EXPECT_EQ(in_child([] {
              install(SIGSEGV, [](int, siginfo_t*, void*) { siglongjmp(way_out, 1); });
              Rig rig(GetParam());
              rig.sink.script = [](std::uintptr_t, Access, pid_t) { return FaultVerdict::kNotOurs; };
              std::atomic<int> refused{0};
              std::array<std::thread, 4> threads;
              for (std::thread& thread : threads) {
                thread = std::thread([&] {
                  for (int round = 0; round < 50; ++round) {
                    if (!store_is_refused(rig, rig.foreign + 1)) _exit(1);
                    refused.fetch_add(1);
                  }
                });
              }
              for (std::thread& thread : threads) thread.join();
              if (refused != 200) _exit(2);
            }),
            0);
}

// A system call that is handed refused memory fails; it must neither hang nor kill.
TEST_P(EngineProgramSignals, SystemCallOnARefusedPageFails) {
  EXPECT_EQ(in_child([] {
              set_log(LogLevel::kError, 1);
              Rig rig(GetParam());
              std::atomic<FaultVerdict> verdict{FaultVerdict::kNotOurs};
              rig.sink.script = [&](std::uintptr_t address, Access wanted, pid_t) {
                return verdict == FaultVerdict::kRetry ? rig.grant(address, wanted) : verdict.load();
              };
              int ends[2];
              if (pipe(ends) != 0) _exit(1);
              for (const FaultVerdict next : {FaultVerdict::kNotOurs, FaultVerdict::kLost}) {
                verdict = next;
                if (write(ends[1], reinterpret_cast<void*>(rig.geometry.address_of(rig.foreign + 1)), 8) != -1)
                  _exit(2);
                if (errno != EFAULT) _exit(3);
              }
              verdict = FaultVerdict::kRetry;
              rig.app(rig.foreign + 1) = 3;
              if (rig.served(rig.foreign + 1) != 3) _exit(4);
            }),
            0);
}

// Data is no code: the jump into it is the program's own fault, however often the page would be given.
TEST_P(EngineProgramSignals, ExecutingSharedDataIsSegv) {
  EXPECT_EQ(in_child([] {
              Rig rig(GetParam());
              reinterpret_cast<void (*)()>(rig.geometry.address_of(rig.foreign + 1))();
            }),
            -SIGSEGV);
}

TEST_P(EngineProgramSignals, UnusedPartOfTheOwnSliceIsSegv) {
  EXPECT_EQ(in_child([] {
              Rig rig(GetParam());
              rig.sink.script = [&](std::uintptr_t address, Access wanted, pid_t) {
                const bool unused = rig.space->state(rig.geometry.page_of(address)) == ChunkState::kUnused;
                return unused ? FaultVerdict::kNotOurs : rig.grant(address, wanted);
              };
              rig.app(rig.own + 3) = 1;
            }),
            -SIGSEGV);
}

// The other way round: a program that installs its handler after us and hands on what it does not know.
TEST_P(EngineProgramSignals, AHandlerInstalledAfterOursMayCallOurs) {
  EXPECT_EQ(in_child([] {
              static struct sigaction segv_before, bus_before;
              Rig rig(GetParam());
              const auto chain = [](int signal, siginfo_t* info, void* context) {
                const struct sigaction& before = signal == SIGSEGV ? segv_before : bus_before;
                if ((before.sa_flags & SA_SIGINFO) == 0) _exit(1);
                before.sa_sigaction(signal, info, context);
              };
              struct sigaction action {};
              action.sa_sigaction = chain;
              action.sa_flags = SA_SIGINFO;
              sigaction(SIGSEGV, &action, &segv_before);
              sigaction(SIGBUS, &action, &bus_before);
              for (PageId page = 0; page < 20; ++page) rig.app(rig.foreign + page) = 1;
              if (rig.sink.writes != 20) _exit(2);
            }),
            0);
}

// A forked child has no part in the protocol: shared memory is not there, and our handler does not answer for it.
TEST_P(EngineProgramSignals, AForkedChildHasNoSharedMemory) {
  Rig rig(GetParam());
  rig.app(rig.foreign) = 5;
  ASSERT_TRUE(rig.space->open_private(rig.own, 1).has_value());
  rig.app(rig.own) = 6;
  const int before = rig.faults();
  EXPECT_EQ(in_child([&] {
              if (rig.app(rig.own) != 6) _exit(1);
              rig.app(rig.foreign) = 7;
            }),
            -SIGSEGV);
  EXPECT_EQ(rig.faults(), before);
  EXPECT_EQ(rig.app(rig.foreign), 5U);
}

TEST_P(EngineProgramSignals, AfterStopMappedPagesStayAndOthersKill) {
  for (const bool mapped : {true, false}) {
    const int end = in_child([mapped] {
      Rig rig(GetParam());
      rig.app(rig.foreign) = 5;
      rig.engine->stop();
      if (rig.app(rig.foreign) != 5) _exit(1);
      if (!mapped) rig.load(rig.foreign + 1);
    });
    if (mapped) {
      EXPECT_EQ(end, 0);
    } else {
      EXPECT_TRUE(end == -SIGSEGV || end == -SIGBUS) << end;
    }
  }
}

TEST_P(EngineProgramSignals, StopEndsEveryWait) {
  EXPECT_NE(in_child([] {
              Rig rig(GetParam());
              if (rig.engine->faults_inline()) _exit(1);  // nobody waits in these
              std::atomic<bool> told{false};
              rig.sink.script = [&](std::uintptr_t, Access, pid_t) {
                told = true;
                return FaultVerdict::kPending;
              };
              std::thread program([&] { rig.app(rig.foreign) = 1; });
              while (!told) sched_yield();
              rig.engine->stop();
              program.join();
            }),
            0);
}

TEST_P(EngineProgramSignals, StopGivesTheHandlersBack) {
  struct sigaction segv_before {
  }, bus_before{}, segv_after{}, bus_after{};
  sigaction(SIGSEGV, nullptr, &segv_before);
  sigaction(SIGBUS, nullptr, &bus_before);
  for (int round = 0; round < 2; ++round) {
    Rig rig(GetParam());
    rig.app(rig.foreign) = 5;
  }
  sigaction(SIGSEGV, nullptr, &segv_after);
  sigaction(SIGBUS, nullptr, &bus_after);
  EXPECT_EQ(segv_before.sa_handler, segv_after.sa_handler);
  EXPECT_EQ(bus_before.sa_handler, bus_after.sa_handler);
}

FOR_ALL_ENGINES(EngineProgramSignals);

}  // namespace
}  // namespace dsm::mem
