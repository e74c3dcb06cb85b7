// Every kind of end, as exit code and in words; and what is refused before anything is started.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

std::vector<std::string> shell(const std::string& options, const std::string& script) {
  std::vector<std::string> command = words(bin("dsmrun") + " " + options + " -- /bin/sh -c");
  command.push_back(script);
  return command;
}

// Expects that dsmrun starts nothing, ends with `code`, and says one line that has `part` in it.
void expect_refusal(std::vector<std::string> command, int code, const std::string& part, Start start = {}) {
  Process run(command, start);
  EXPECT_EQ(run.wait(), code) << run.err();
  EXPECT_EQ(run.out(), "");
  EXPECT_NE(run.err().find(part), std::string::npos) << run.err();
  EXPECT_EQ(count(run.err(), "\n"), 1) << run.err();
}

std::vector<std::string> refused(const std::string& options) { return words(bin("dsmrun") + " " + options); }

// A file in a folder of its own, removed at the end.
class ScratchFile {
 public:
  ScratchFile(const std::string& content, mode_t mode) {
    char folder[] = "/tmp/launcher-test-XXXXXX";
    if (::mkdtemp(folder) == nullptr) std::abort();
    folder_ = folder;
    std::ofstream(path()) << content;
    ::chmod(path().c_str(), mode);
  }
  ~ScratchFile() { std::filesystem::remove_all(folder_); }
  std::string path() const { return folder_ + "/file"; }

 private:
  std::string folder_;
};

TEST(LauncherExit, ZeroWhenAllAreFine) {
  Process run(shell("-n 3", "exit 0"));
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(run.err(), "");
}

TEST(LauncherExit, TheProgramsOwnStatus) {
  Process run(shell("-n 3", "exit 3"));
  EXPECT_EQ(run.wait(), 3);
  EXPECT_NE(run.err().find(") exited with status 3"), std::string::npos) << run.err();
}

TEST(LauncherExit, HundredAndTwentyEightPlusSignal) {
  Process run(shell("-n 3", "kill -SEGV $$"));
  EXPECT_EQ(run.wait(), 128 + SIGSEGV);
  EXPECT_NE(run.err().find(") was killed by signal 11 (SIGSEGV)"), std::string::npos) << run.err();
}

TEST(LauncherExit, OneNodeThatFailsEndsTheOthers) {
  // Node 0 alone has input to wait for; the others see its end at once.
  Process run(shell("-n 3", "read line || exec sleep 1000; exit 7"));
  run.type("go\n");
  EXPECT_EQ(run.wait(), 7);
  EXPECT_NE(run.err().find("dsmrun: node 0 (pid "), std::string::npos) << run.err();
  EXPECT_NE(run.err().find(") exited with status 7"), std::string::npos) << run.err();
  EXPECT_EQ(count(run.err(), ") was ended by dsmrun (SIGTERM)"), 2) << run.err();
}

TEST(LauncherExit, WrongCommandLinesAre64) {
  expect_refusal(refused(""), 64, "how many nodes");
  expect_refusal(refused("-n 2"), 64, "which program");
  for (const char* count : {"0", "49", "-1", "x", "2x", "99999999999999999999"}) {
    expect_refusal(refused(std::string("-n ") + count + " /bin/true"), 64, "from 1 to 48");
  }
  expect_refusal(refused("-n 2 -t 0 /bin/true"), 64, "from 1 to 1024");
  expect_refusal(refused("-n 2 --engine steam /bin/true"), 64, "--engine steam");
  expect_refusal(refused("-n 2 --slice 63M /bin/true"), 64, "--slice 63M");
  expect_refusal(refused("-n 2 --hold-us many /bin/true"), 64, "--hold-us many");
  expect_refusal(refused("-n 2 --engin auto /bin/true"), 64, "the nearest is engine");
  expect_refusal(refused("-n 2 --stats-json /nosuch/file /bin/true"), 64, "/nosuch/file");
}

TEST(LauncherExit, WrongVariablesAre64) {
  Process run(refused("-n 2 /bin/true"), {.environment = {"DSM_LOG=loud"}, .in_child = {}});
  EXPECT_EQ(run.wait(), 64);
  EXPECT_NE(run.err().find("DSM_LOG"), std::string::npos) << run.err();
}

Start limited(int resource, rlim_t limit) {
  return {.environment = {}, .in_child = [=] {
            const rlimit both{limit, limit};
            ::setrlimit(static_cast<__rlimit_resource>(resource), &both);
          }};
}

TEST(LauncherExit, WhatTheMachineLacksIs69) {
  expect_refusal(refused("-n 48 --slice 64G /bin/true"), 69, "use a smaller --slice");
  for (const char* wanted : {"--slice 4T --base 0x7ff000000000", "--slice 2M --base 0x7fff00000000"}) {
    expect_refusal(refused(std::string("-n 2 ") + wanted + " /bin/true"), 69, "choose a lower --base");
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // these need terabytes for themselves
  expect_refusal(refused("-n 2 /bin/true"), 69, "ulimit -v", limited(RLIMIT_AS, rlim_t{10} << 30));
  expect_refusal(refused("-n 2 /bin/true"), 69, "DSM_SLICE", limited(RLIMIT_AS, rlim_t{10} << 30));
#endif
  expect_refusal(refused("-n 2 /bin/true"), 69, "ulimit -f", limited(RLIMIT_FSIZE, rlim_t{1} << 20));
  expect_refusal(refused("-n 20 /bin/true"), 69, "open files", limited(RLIMIT_NOFILE, 100));
}

TEST(LauncherExit, ASoftLimitOnOpenFilesIsRaised) {
  Process run(refused("-n 20 /bin/true"), {.environment = {}, .in_child = [] {
                                             rlimit limit{};
                                             ::getrlimit(RLIMIT_NOFILE, &limit);
                                             limit.rlim_cur = 100;
                                             ::setrlimit(RLIMIT_NOFILE, &limit);
                                           }});
  EXPECT_EQ(run.wait(), 0) << run.err();
}

TEST(LauncherExit, ManyNodesFitWithTheDefaultSlice) {
  Process run(words(bin("dsmrun") + " -n 48 -- " + bin("launcher_node") + " identity"));
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(count(run.out(), "regions fit"), 48);
}

TEST(LauncherExit, NoSuchProgramIs127) {
  expect_refusal(refused("-n 2 -- no-such-program"), 127, "no program no-such-program on the PATH");
  expect_refusal(refused("-n 2 -- /no/such/program"), 127, "no program /no/such/program");
  const ScratchFile script("#!/no/such/interpreter\n", 0755);
  expect_refusal(refused("-n 2 -- " + script.path()), 127, "interpreter");
}

TEST(LauncherExit, WhatCannotBeExecutedIs126) {
  expect_refusal(refused("-n 2 -- /tmp"), 126, "is a directory");
  const ScratchFile text("some text\n", 0644);
  expect_refusal(refused("-n 2 -- " + text.path()), 126, "chmod +x");
  const ScratchFile nonsense("some text\n", 0755);
  expect_refusal(refused("-n 2 -- " + nonsense.path()), 126, "#!/bin/sh");
}

TEST(LauncherExit, LeavingWithoutFinishingIs76) {
  Process run(job("-n 3", "leave"));
  EXPECT_EQ(run.wait(), 76);
  EXPECT_NE(run.err().find("dsmrun: node 1 (pid "), std::string::npos) << run.err();
  EXPECT_NE(run.err().find(") left the job without finishing"), std::string::npos) << run.err();
  EXPECT_EQ(count(run.out(), "told: node 1 left the job without finishing"), 2) << run.out();
  EXPECT_EQ(count(run.out(), "broken"), 2) << run.out();
}

TEST(LauncherExit, ClosingTheConnectionIs76) {
  Process run(job("-n 2", "close-all"));
  EXPECT_EQ(run.wait(), 76);
  EXPECT_NE(run.err().find(") closed its connection to dsmrun without finishing"), std::string::npos) << run.err();
  EXPECT_EQ(count(run.out(), "[0] told: node 1 closed its connection"), 1) << run.out();
}

TEST(LauncherExit, HelpIsCompleteAndFine) {
  Process run(refused("--help"));
  EXPECT_EQ(run.wait(), 0);
  for (const char* word : {"--nodes", "--threads", "--engine", "--finish-ms", "--stats-json", "--no-prefix",
                           "Exit code", "Examples:", "128 + s", "69"}) {
    EXPECT_NE(run.out().find(word), std::string::npos) << word;
  }
}

TEST(LauncherExit, StatsAtTheEnd) {
  const ScratchFile file("", 0644);
  Process run(job("-n 2 --stats --stats-json " + file.path(), "count"));
  run.wait_for("ready", 2);
  EXPECT_EQ(run.wait(), 0);
  EXPECT_TRUE(run.err().find("fault_read        faults                  3000            1000            2000") !=
              std::string::npos)
      << run.err();
  std::ifstream stream(file.path());
  const auto json = nlohmann::json::parse(stream);
  EXPECT_EQ(json["exit_code"], 0);
  EXPECT_EQ(json["nodes"].size(), 2U);
  EXPECT_EQ(json["nodes"][1]["counters"]["fault_read"], 2000);
  EXPECT_EQ(json["nodes"][1]["engine"], "test");
  EXPECT_EQ(json["total"]["counters"]["fault_read"], 3000);
  EXPECT_EQ(json["units"]["fault_read"], "faults");
  EXPECT_EQ(json["total"]["latencies"]["fault_latency"]["events"], 200);
  EXPECT_EQ(json["total"]["latencies"]["fault_latency"]["max_ns"], 1'000'000);
  EXPECT_EQ(json["total"]["latencies"]["fault_latency"]["p50_ns"], 1023);
}

}  // namespace
}  // namespace dsm::cluster::test
