// Unmodified programs on libdsm_preload.so: each case runs in a process of its own.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <tuple>

#include "base/modules.h"
#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

const std::string kLibrary = DSM_PRELOAD_LIBRARY;

// `in_child`: what comes before the program.
Start preloaded(const std::vector<std::string>& more = {}, std::function<void()> in_child = {}) {
  Start start;
  start.environment = {"LD_PRELOAD=" + kLibrary};
  start.environment.insert(start.environment.end(), more.begin(), more.end());
  start.in_child = std::move(in_child);
  return start;
}

void expect_good(std::vector<std::string> command, Start start) {
  Process process(std::move(command), std::move(start));
  process.close_input();
  EXPECT_EQ(process.wait(), 0) << process.err();
  EXPECT_NE(process.out().find("good"), std::string::npos) << process.out();
}

class Corners : public testing::TestWithParam<const char*> {};
TEST_P(Corners, AsDocumented) { expect_good({bin("corners"), GetParam()}, preloaded()); }
INSTANTIATE_TEST_SUITE_P(Allocation, Corners,
                         testing::Values("zero_bytes", "overflow", "alignment", "resizing", "zeroed", "freeing",
                                         "operators", "before_main", "thread_ends", "many_threads", "libraries"),
                         [](const auto& test) { return std::string(test.param); });

const auto kOfProcesses = testing::Values("child_has_a_copy", "fork_among_threads", "one_moment", "grandchildren",
                                          "starting_programs", "locks_of_libraries", "streams", "streams_with_buffers",
                                          "descriptors", "own_handler", "stack_overflow", "blocked_signals");
class Processes : public testing::TestWithParam<const char*> {};
TEST_P(Processes, AsWithoutUs) { expect_good({bin("processes"), GetParam()}, preloaded()); }
TEST_P(Processes, UnderDsmrun) { expect_good({bin("dsmrun"), "--preload", "--", bin("processes"), GetParam()}, {}); }
TEST_P(Processes, BesideAnotherNode) {
  for (const char* engine : {"uffd-thread", "sigsegv"}) {
    expect_good({bin("dsmrun"), "-n", "2", "--preload", "--engine", engine, "--", bin("processes"), GetParam()}, {});
  }
}
INSTANTIATE_TEST_SUITE_P(Program, Processes, kOfProcesses, [](const auto& test) { return std::string(test.param); });

TEST(Preload, ChildrenRunOnTheLibraryWhenAskedTo) {
  expect_good({bin("processes"), "starting_programs"}, preloaded({"DSM_CHILDREN=1"}));
}

TEST(Preload, MemoryEndsWithENOMEM) { expect_good({bin("processes"), "limited"}, preloaded()); }

TEST(Preload, AnAddressSpaceThatIsTooSmallIsNamed) {
  Process process({"/bin/true"}, preloaded({}, [] {
                    const rlimit limit{1 << 30, 1 << 30};
                    setrlimit(RLIMIT_AS, &limit);
                  }));
  EXPECT_EQ(process.wait(), 69);
  EXPECT_NE(process.err().find("limit on address space is"), std::string::npos) << process.err();
  EXPECT_NE(process.err().find("DSM_SLICE"), std::string::npos) << "there is no dsmrun: " << process.err();
}

TEST(Preload, ASmallStackWillDo) {
  expect_good({bin("corners"), "zero_bytes"}, preloaded({}, [] {
                const rlimit limit{128 << 10, 128 << 10};
                setrlimit(RLIMIT_STACK, &limit);
              }));
}

// As in a container: a filter of system calls, which is not ours, and refuses one that the library would like to have.
void refuse_poll() {
  sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_poll, 0, 1),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{std::size(code), code};
  const bool set =
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
  if (!set) _exit(99);
}

TEST(Preload, RunsInsideASandbox) {
  for (const char* engine : {"auto", "uffd-inline", "uffd-thread", "sigsegv"}) {
    for (const char* what : {"descriptors", "child_has_a_copy"}) {
      expect_good({bin("processes"), what}, preloaded({std::string("DSM_ENGINE=") + engine}, refuse_poll));
    }
  }
}

TEST(Preload, AMisspeltOptionEndsTheProgram) {
  Process process({"/bin/true"}, preloaded({"DSM_ENGIN=auto"}));
  EXPECT_EQ(process.wait(), 64);
  EXPECT_NE(process.err().find("DSM_ENGINE"), std::string::npos) << process.err();
}

TEST(Preload, AStaticProgramIsNamed) {
  Process process({bin("dsmrun"), "--preload", "--", bin("static_program")});
  EXPECT_EQ(process.wait(), 126);
  EXPECT_NE(process.err().find("linked statically"), std::string::npos) << process.err();
}

// --- over memory nodes -----------------------------------------------------------------------------------------------

// With the engine that is the default there, and with the one whose pages the kernel waits for.
constexpr const char* kEngines[] = {"uffd-inline", "uffd-thread"};

std::vector<std::string> bounded(std::vector<std::string> program, const char* engine = "auto") {
  std::vector<std::string> command{bin("dsmrun"), "--preload", "--memory-nodes", "2", "--local-memory",
                                   "16M",         "--engine",  engine,           "--"};
  command.insert(command.end(), program.begin(), program.end());
  return command;
}

TEST_P(Corners, OverMemoryNodes) {
  for (const char* engine : kEngines) expect_good(bounded({bin("corners"), GetParam()}, engine), {});
}

class OverMemoryNodes : public testing::TestWithParam<const char*> {};
TEST_P(OverMemoryNodes, AsWithoutUs) {
  Start inlined;  // the kernel waits for no page, so a signal's stack that is in the heap has a shadow elsewhere
  inlined.environment = {"STACK_HAS_SHADOW=1"};
  expect_good(bounded({bin("processes"), GetParam()}, "uffd-inline"), inlined);
  expect_good(bounded({bin("processes"), GetParam()}, "uffd-thread"), {});
}
INSTANTIATE_TEST_SUITE_P(Program, OverMemoryNodes, kOfProcesses,
                         [](const auto& test) { return std::string(test.param); });

TEST(PreloadOverMemoryNodes, ShadowedBlocksSurviveEviction) {
  for (const char* engine : kEngines) {
    expect_good(bounded({bin("stress_malloc"), "--seconds", "3", "--threads", "8"}, engine), {});
  }
}

TEST(PreloadOverMemoryNodes, AForkThatFindsNoFolderSaysSo) {
  Start start;
  start.environment = {"TMPDIR=/nonexistent"};
  Process process(bounded({bin("processes"), "child_has_a_copy"}), start);
  EXPECT_NE(process.wait(), 0);
  EXPECT_NE(process.err().find("a file in /nonexistent"), std::string::npos) << process.err();
  EXPECT_NE(process.err().find("No such file or directory"), std::string::npos) << process.err();
}

// Several program nodes: the heap is memory that they share, which a forked child has none of.
TEST(PreloadOverMemoryNodes, AChildThatTouchesASharedHeapIsTold) {
  Process process({bin("dsmrun"), "-n", "2", "--preload", "--memory-nodes", "1", "--local-memory", "16M", "--",
                   bin("processes"), "child_has_a_copy"});
  EXPECT_NE(process.wait(), 0);
  EXPECT_NE(process.err().find("a forked child has none of it"), std::string::npos) << process.err();
}

class Mappings : public testing::TestWithParam<const char*> {};
TEST_P(Mappings, AsTheKernels) {
  expect_good({bin("dsmrun"), "--preload", "--mmap-kib", "1024", "--", bin("mappings"), GetParam()}, {});
}
TEST_P(Mappings, OverMemoryNodes) {
  for (const char* engine : kEngines) {
    expect_good({bin("dsmrun"), "--preload", "--mmap-kib", "1024", "--memory-nodes", "2", "--local-memory", "4M",
                 "--engine", engine, "--", bin("mappings"), GetParam()},
                {});
  }
}
INSTANTIATE_TEST_SUITE_P(Program, Mappings,
                         testing::Values("which_are_global", "fresh_is_zero", "unmapping", "resizing", "advice",
                                         "used_up", "forking", "many_threads"),
                         [](const auto& test) { return std::string(test.param); });

// With the other engines the kernel waits for no page.
TEST(PreloadOverMemoryNodes, SystemCallsWorkWithEveryEngine) {
  for (const char* engine : {"uffd-thread", "uffd-inline", "sigsegv"}) {
    const std::vector<std::string> job{bin("dsmrun"), "--preload",      "--engine", engine, "--memory-nodes",
                                       "1",           "--local-memory", "4M",       "--"};
    for (const char* what : {"streams", "streams_with_buffers", "starting_programs", "forks_again"}) {
      auto command = job;
      command.insert(command.end(), {bin("processes"), what});
      expect_good(command, {});
    }
    for (const char* program : {"calls", "waiting_calls"}) {
      auto command = job;
      command.push_back(bin(program));
      expect_good(command, {});
    }
  }
}

// The filter of system calls stays in what a program starts; a job in there makes its calls from the gate.
TEST(PreloadOverMemoryNodes, AJobThatAJobStartsGetsOnWithItsFilter) {
  for (const std::string inner : {"--memory-nodes 1 --local-memory 4M --engine uffd-inline",
                                  "--memory-nodes 1 --local-memory 4M --engine uffd-thread", ""}) {
    for (const std::string what : {"streams_with_buffers", "child_has_a_copy"}) {
      const std::string command = bin("dsmrun") + " --preload " + inner + " -- " + bin("processes") + " " + what;
      expect_good({bin("dsmrun"), "--preload", "--memory-nodes", "1", "--local-memory", "4M", "--engine", "uffd-inline",
                   "--", "/bin/bash", "-c", command + "; exit $?"},
                  {});
    }
  }
}

// Whoever starts it may have blocked what carries a fault.
TEST(PreloadOverMemoryNodes, BlockedSignalsAreInherited) {
  Start start;
  start.in_child = [] {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
  };
  expect_good(bounded({bin("corners"), "resizing"}), start);
}

// It has functions of its own called getenv and unsetenv, and forks to start what it starts.
TEST(PreloadPrograms, ShellsStartPrograms) {
  const std::string script = "x=$(echo goo | cat); (echo ${x}D | tr D d); y=$( (/bin/echo o) ); test $y = o";
  expect_good({bin("dsmrun"), "--preload", "--", "/bin/bash", "-c", script}, {});
  expect_good({"/bin/bash", "-c", script}, preloaded());
  Start bare;  // without HOME and SHELL it looks them up, and libc then has a lock of its own in the heap
  bare.in_child = [] { ::clearenv(); };
  expect_good(
      {bin("dsmrun"), "--preload", "--memory-nodes", "1", "--local-memory", "4M", "--", "/bin/bash", "-c", script},
      bare);
}

// While pages go and come all the time.
TEST(PreloadOverMemoryNodes, ASnapshotIsOfOneMoment) {
  for (const char* engine : {"uffd-thread", "uffd-inline", "sigsegv"}) {
    for (const char* what : {"one_moment", "child_has_a_copy", "fork_among_threads", "locks_of_libraries"}) {
      expect_good({bin("dsmrun"), "--preload", "--engine", engine, "--memory-nodes", "1", "--local-memory", "4M", "--",
                   bin("processes"), what},
                  {});
    }
  }
}

// --- memory that nodes share -----------------------------------------------------------------------------------------

// A folder with the pipes by which two nodes talk.
class Folder {
 public:
  Folder() {
    char pattern[] = "/tmp/preload_test_XXXXXX";
    path_ = ::mkdtemp(pattern);
    for (const char* name : {"/a", "/b"}) ::mkfifo((path_ + name).c_str(), 0600);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void run_shared(const char* engine, const char* what, const char* words_expected) {
  const Folder folder;
  Process job({bin("dsmrun"), "-n", "2", "--preload", "--engine", engine, "--", bin("shared"), what, folder.path()});
  job.close_input();
  EXPECT_EQ(job.wait(), 0) << engine << ": " << job.err();
  EXPECT_EQ(count(job.out(), "good"), 2) << job.out();
  EXPECT_NE(job.err().find(words_expected), std::string::npos) << job.err();
}

TEST(PreloadShared, PointersOfAnotherNodeWork) {
  for (const char* engine : {"uffd-thread", "uffd-inline", "sigsegv"}) run_shared(engine, "pointers", "");
}
TEST(PreloadShared, SystemCallsOnMissingPagesWork) {
  for (const char* engine : {"uffd-thread", "uffd-inline", "sigsegv"}) run_shared(engine, "system_calls", "");
}
TEST(PreloadShared, SignalsOfTheProgramAreItsOwn) {
  for (const char* engine : {"uffd-thread", "uffd-inline", "sigsegv"}) run_shared(engine, "signals", "");
}
TEST(PreloadShared, AChildThatTouchesSharedMemoryIsTold) {
  run_shared("uffd-thread", "forks", "a forked child has none of it");
  run_shared("sigsegv", "forks", "a forked child has none of it");
}

// A profile's sites are served apart, whichever way the program allocates; other sites are not.
TEST(PreloadSites, AreServedApartByAProfile) {
  const std::string profile = testing::TempDir() + "preload-sites";
  std::vector<std::vector<pid_t>> pages;  // of the first run, of the second
  for (const char* option : {"--profile", "--auto-from"}) {
    const Folder folder;
    Process job({bin("dsmrun"), "-n", "2", "--preload", option, profile, "--", bin("shared"), "sites", folder.path()});
    job.close_input();
    EXPECT_EQ(job.wait(), 0) << job.out() << job.err();
    EXPECT_EQ(count(job.out(), "good"), 2) << job.out() << job.err();
    pages.emplace_back();
    for (const char* how : {"new ", "calloc ", "realloc ", "untouched "}) {
      const auto found = numbers_after(job.out(), how);
      ASSERT_EQ(found.size(), 1U) << job.out();
      pages.back().push_back(found[0]);
    }
  }
  std::filesystem::remove(profile);
  for (std::size_t how = 0; how < 3; ++how) {
    EXPECT_LT(pages[0][how], 8) << how;
    EXPECT_EQ(pages[1][how], 32) << how;
  }
  EXPECT_LT(pages[1][3], 8);
}

// With a mark that fits no call every allocation is looked up, and all is as without.
class Marked : public testing::TestWithParam<std::tuple<const char*, const char*>> {};
TEST_P(Marked, ProgramsRunAsWithout) {
  const auto [program, what] = GetParam();
  const std::string mark = "apart:1:" + build_id_of_file(bin(program)) + ":program";
  expect_good({bin("dsmrun"), "-n", "2", "--preload", "--sites", mark, "--", bin(program), what}, {});
}
INSTANTIATE_TEST_SUITE_P(PreloadSites, Marked,
                         testing::Values(std::tuple{"corners", "resizing"}, std::tuple{"corners", "zeroed"},
                                         std::tuple{"corners", "operators"}, std::tuple{"corners", "thread_ends"},
                                         std::tuple{"corners", "many_threads"}, std::tuple{"corners", "libraries"},
                                         std::tuple{"processes", "child_has_a_copy"},
                                         std::tuple{"processes", "fork_among_threads"},
                                         std::tuple{"processes", "grandchildren"}),
                         [](const auto& test) { return std::string(std::get<1>(test.param)); });

// A program as its distribution has stripped it: what it exports has a name, the rest an offset.
TEST(PreloadProfile, NamesWhatAStrippedProgramExports) {
  const std::string profile = testing::TempDir() + "preload-profile";
  Process job({bin("dsmrun"), "--preload", "--memory-nodes", "1", "--local-memory", "8M", "--profile", profile, "--",
               "/usr/bin/perl", "-e",
               "my @a = map { \"x$_\" x 300 } 1..20000; my $n = 0; $n += length for @a; print $n"});
  job.close_input();
  EXPECT_EQ(job.wait(), 0) << job.err();
  Process advise({bin("dsm-advise"), "--json", profile});
  EXPECT_EQ(advise.wait(), 0) << advise.err();
  std::filesystem::remove(profile);
  EXPECT_NE(advise.out().find("\"function\": \"Perl_safesysrealloc+0x"), std::string::npos) << "where it allocates";
  EXPECT_NE(advise.out().find("\"function\": \"Perl_sv_"), std::string::npos) << "where it touches";
  EXPECT_NE(advise.out().find("+0x"), std::string::npos);
}

}  // namespace
}  // namespace dsm::cluster::test
