// What log, check and trace write.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/line.h"
#include "base/log.h"
#include "base/trace.h"

namespace {

std::string read_all(int fd) {
  std::string text;
  char piece[4096];
  for (ssize_t got = 0; (got = ::read(fd, piece, sizeof piece)) > 0;) text.append(piece, static_cast<std::size_t>(got));
  return text;
}

// What this thread's trace prints.
std::string dumped() {
  int pipe_fds[2];
  EXPECT_EQ(pipe(pipe_fds), 0);
  dsm::dump_trace(pipe_fds[1]);
  close(pipe_fds[1]);
  std::string text = read_all(pipe_fds[0]);
  close(pipe_fds[0]);
  return text;
}

class LogTest : public testing::Test {
 protected:
  void TearDown() override { dsm::set_log(dsm::LogLevel::kWarn, -1); }
};

TEST_F(LogTest, LineNamesNodeAndSubsystem) {
  dsm::set_log(dsm::LogLevel::kInfo, 2);
  testing::internal::CaptureStderr();
  dsm::log(dsm::LogLevel::kInfo, "mem", "engine {}", "uffd-inline");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "dsm[2] mem: engine uffd-inline\n");
}

TEST_F(LogTest, NoNodeKnownYet) {
  testing::internal::CaptureStderr();
  dsm::log(dsm::LogLevel::kError, "config", "bad");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "dsm config: bad\n");
}

TEST_F(LogTest, LevelsAboveTheChosenOneAreSilent) {
  dsm::set_log(dsm::LogLevel::kWarn, 0);
  EXPECT_TRUE(dsm::log_enabled(dsm::LogLevel::kWarn));
  EXPECT_FALSE(dsm::log_enabled(dsm::LogLevel::kInfo));
  testing::internal::CaptureStderr();
  dsm::log(dsm::LogLevel::kInfo, "mem", "not to be seen");
  dsm::log_line(dsm::LogLevel::kDebug, "mem", "nor this");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(LogTest, LineThatIsTooLongIsCutAndSaysSo) {
  testing::internal::CaptureStderr();
  dsm::log_line(dsm::LogLevel::kError, "mem", std::string(5000, 'x'));
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_EQ(line.size(), dsm::kLineBytes + 4);
  EXPECT_TRUE(line.ends_with("x...\n"));
}

TEST_F(LogTest, ErrnoIsLeftAlone) {
  dsm::Line line;
  errno = ENOENT;
  line.text("lost").write_to(-1);  // write fails with EBADF
  EXPECT_EQ(errno, ENOENT);
}

TEST(CheckTest, TrueConditionDoesNothing) { DSM_CHECK(1 + 1 == 2, "arithmetic {}", 1); }

TEST(CheckDeathTest, PrintsPlaceConditionDetailAndTraceThenAborts) {
  const int page = 7;
  EXPECT_EXIT(
      {
        dsm::set_log(dsm::LogLevel::kError, 3);
        dsm::trace(dsm::TraceEvent::kFault, 0x1234, 1, 2);
        DSM_CHECK(page == 8, "page {} is {}", page, "lost");
      },
      testing::KilledBySignal(SIGABRT),
      "dsm.3. CHECK failed .*base_lines_test.cpp:[0-9]+: page == 8: page 7 is lost\n(.*\n)*.*fault +page 0x1234  0x1 "
      "0x2");
}

TEST(CheckDeathTest, DetailMayBeLeftOut) {
  EXPECT_EXIT(DSM_CHECK(1 == 2), testing::KilledBySignal(SIGABRT), "CHECK failed .*: 1 == 2\n");
}

TEST(TraceTest, ThreadWithoutEventsSaysSo) {
  std::string text;
  std::thread{[&] { text = dumped(); }}.join();
  EXPECT_NE(text.find("nothing happened"), std::string::npos) << text;
}

TEST(TraceTest, KeepsTheLastEventsOldestFirst) {
  std::string text;
  std::thread{[&] {
    for (dsm::PageId page = 0; page < 100; ++page) dsm::trace(dsm::TraceEvent::kMap, 0x1000 + page, page);
    text = dumped();
  }}.join();
  EXPECT_NE(text.find("the last 64 of 100 events"), std::string::npos) << text;
  EXPECT_EQ(text.find("page 0x1023 "), std::string::npos) << text;
  const std::size_t oldest = text.find("page 0x1024 ");
  const std::size_t newest = text.find("page 0x1063 ");
  ASSERT_NE(oldest, std::string::npos) << text;
  ASSERT_NE(newest, std::string::npos) << text;
  EXPECT_LT(oldest, newest);
}

TEST(TraceTest, RingsOfThreadsThatAreGoneServeNewOnes) {
  std::string text;
  for (int i = 0; i < 600; ++i) {
    std::thread{[&] {
      dsm::trace(dsm::TraceEvent::kUnmap, 0x77, static_cast<std::uint64_t>(i));
      text = dumped();
    }}.join();
    ASSERT_NE(text.find("the last 1 of 1 events"), std::string::npos) << i << text;
  }
}

TEST(TraceTest, ChildOfForkTracesIntoARingOfItsOwn) {
  dsm::trace(dsm::TraceEvent::kUnmap, 0x77);
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    dsm::trace(dsm::TraceEvent::kWait, 0x88);
    dsm::dump_trace(pipe_fds[1]);
    _exit(0);
  }
  close(pipe_fds[1]);
  const std::string text = read_all(pipe_fds[0]);
  close(pipe_fds[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_NE(text.find("trace of thread " + std::to_string(child) + ": the last 1 of 1 events"), std::string::npos)
      << text;
}

}  // namespace
