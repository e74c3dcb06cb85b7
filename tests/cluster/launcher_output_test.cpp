// What comes out of a job, and what goes in.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <sstream>

#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(LauncherOutput, EachLineNamesItsNode) {
  Process run(words(bin("dsmrun") + " -n 3 -- /bin/echo hi"));
  EXPECT_EQ(run.wait(), 0);
  auto lines = lines_of(run.out());
  std::sort(lines.begin(), lines.end());
  EXPECT_EQ(lines, (std::vector<std::string>{"[0] hi", "[1] hi", "[2] hi"}));
  EXPECT_EQ(run.err(), "");
}

// Every node writes long lines of its own letter in pieces; a line that mixes letters or is cut would show.
void expect_whole_lines(const std::string& text, unsigned nodes, char base, bool with_rest) {
  std::map<std::string, int> lines_by_node;
  for (const std::string& line : lines_of(text)) {
    ASSERT_GT(line.size(), 4U) << line;
    const std::string prefix = line.substr(0, 4);
    const std::string rest = line.substr(4);
    if (rest == "no end") continue;
    ASSERT_EQ(rest.size(), 30'000U);
    ASSERT_EQ(rest.find_first_not_of(rest.front()), std::string::npos);
    ASSERT_EQ(rest.front(), base);
    ++lines_by_node[prefix];
  }
  EXPECT_EQ(lines_by_node.size(), nodes);
  for (const auto& [prefix, lines] : lines_by_node) EXPECT_EQ(lines, 100) << prefix;
  EXPECT_EQ(count(text, "no end\n"), with_rest ? static_cast<int>(nodes) : 0);
}

TEST(LauncherOutput, LongLinesOfSeveralNodesStayWholeAndStreamsApart) {
  Process run(job("-n 3", "lines q"));
  EXPECT_EQ(run.wait(), 0);
  expect_whole_lines(run.out(), 3, 'q', true);
  expect_whole_lines(run.err(), 3, 'Q', false);
}

TEST(LauncherOutput, NoPrefixPassesBytesUnchanged) {
  Process run(words(bin("dsmrun") + " --no-prefix -n 2 -- /usr/bin/printf a\\0b\\nrest"));
  EXPECT_EQ(run.wait(), 0);
  const std::string whole("a\0b\n", 4);
  EXPECT_EQ(run.out().size(), 16U);
  EXPECT_EQ(count(run.out(), whole), 2);
  EXPECT_EQ(count(run.out(), "rest"), 2);
}

TEST(LauncherOutput, InputGoesToNodeZeroOnly) {
  Process run(words(bin("dsmrun") + " -n 3 -- /bin/cat"));
  run.type("first\nlast");
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(run.out(), "[0] first\n[0] last\n");
}

TEST(LauncherOutput, OneNodeHasTheStreamsThemselves) {
  Process run(words(bin("dsmrun") + " -n 1 -- /bin/cat"));
  run.type("as it is");
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(run.out(), "as it is");
}

// A node may not read a terminal itself: it is in a process group of its own.
TEST(LauncherOutput, NodeZeroReadsTheTerminal) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(::grantpt(terminal), 0);
  ASSERT_EQ(::unlockpt(terminal), 0);
  const std::string name = ::ptsname(terminal);
  Start start;
  start.in_child = [name] {
    ::setsid();
    const int slave = ::open(name.c_str(), O_RDWR);
    if (slave < 0 || ::ioctl(slave, TIOCSCTTY, 0) != 0) ::_exit(124);
    ::dup2(slave, 0);
  };
  Process run(words(bin("dsmrun") + " -n 2 -- /bin/cat"), start);
  ASSERT_EQ(::write(terminal, "typed\n", 6), 6);
  run.wait_for("[0] typed\n");
  ASSERT_EQ(::write(terminal, "\x04", 1), 1);  // end of file
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(run.out(), "[0] typed\n");
  ::close(terminal);
}

TEST(LauncherOutput, AReaderThatLeavesEndsTheJobLikeAPipeline) {
  Process pipeline(
      {"/bin/bash", "-c", bin("dsmrun") + " -n 2 -- /usr/bin/yes | /usr/bin/head -n 1; echo ${PIPESTATUS[0]}"});
  EXPECT_EQ(pipeline.wait(), 0);
  EXPECT_TRUE(pipeline.out() == "[0] y\n141\n" || pipeline.out() == "[1] y\n141\n") << pipeline.out();
}

TEST(LauncherOutput, ADaemonThatKeepsTheOutputOpenHoldsUpNothing) {
  // The shell leaves once its child is in a session of its own, where dsmrun does not reach it.
  Process run({bin("dsmrun"), "-n", "2", "--", "/bin/sh", "-c",
               "setsid sleep 1000 & until [ \"$(cut -d' ' -f6 /proc/$!/stat)\" = $! ]; do :; done; echo daemon $!"});
  EXPECT_EQ(run.wait(), 0);
  const auto daemons = numbers_after(run.out(), "daemon ");
  EXPECT_EQ(daemons.size(), 2U);
  for (const pid_t daemon : daemons) {
    EXPECT_FALSE(is_gone(daemon));
    ::kill(daemon, SIGKILL);
  }
}

TEST(LauncherOutput, ThreadsReachTheProgram) {
  Process run({bin("dsmrun"), "-n", "2", "-t", "6", "--", "/bin/sh", "-c", "echo $DSM_THREADS $OMP_NUM_THREADS"});
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(count(run.out(), "6 6\n"), 2);
}

TEST(LauncherOutput, OptionsReachTheNodes) {
  Process run({bin("dsmrun"), "-n", "2", "--hold-us", "77", "--emulate", "rdma", "--", "/bin/sh", "-c",
               "echo $DSM_HOLD_US $DSM_EMULATE"});
  EXPECT_EQ(run.wait(), 0);
  EXPECT_EQ(count(run.out(), "77 rdma\n"), 2);
}

}  // namespace
}  // namespace dsm::cluster::test
