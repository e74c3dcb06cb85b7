// dsmstat on a terminal: keys change what is shown, and the terminal is given back as it was.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>

#include "cluster/control.h"
#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

class Top : public testing::Test {
 protected:
  Top() {
    const winsize size{30, 120, 0, 0};
    EXPECT_EQ(::openpty(&master_, &slave_, nullptr, nullptr, &size), 0);
    ::fcntl(master_, F_SETFD, FD_CLOEXEC);
    ::tcgetattr(slave_, &before_);
    run_.wait_for("ready", 2);
  }
  ~Top() override {
    ::close(master_);
    ::close(slave_);
  }
  std::unique_ptr<Process> stat() {
    Start start;
    start.in_child = [this] {
      ::dup2(slave_, 0);
      ::dup2(slave_, 1);
    };
    return std::make_unique<Process>(words(bin("dsmstat") + " " + std::to_string(run_.pid()) + " --interval 0.05"),
                                     start);
  }
  // Reads the screen until `text` is on it; what came is forgotten.
  bool shows(const std::string& text) {
    for (;;) {
      if (const std::size_t at = screen_.find(text); at != std::string::npos) {
        screen_.erase(0, at + text.size());
        return true;
      }
      pollfd ready{master_, POLLIN, 0};
      char part[4096];
      if (::poll(&ready, 1, static_cast<int>(kDeadline.count()) * 1000) <= 0) return false;
      const ssize_t got = ::read(master_, part, sizeof part);
      if (got <= 0) return false;
      screen_.append(part, static_cast<std::size_t>(got));
    }
  }
  void press(const char* keys) { EXPECT_GT(::write(master_, keys, std::string(keys).size()), 0); }
  void expect_terminal_is_back() {
    EXPECT_TRUE(shows("\x1b[?1049l"));
    termios after{};
    ::tcgetattr(slave_, &after);
    EXPECT_EQ(after.c_lflag, before_.c_lflag);
  }

  Process run_{job("-n 2", "count")};
  int master_ = -1, slave_ = -1;
  termios before_{};
  std::string screen_;
};

TEST_F(Top, KeysChooseWhatIsShown) {
  const auto stat = this->stat();
  EXPECT_TRUE(shows("faults/s"));
  EXPECT_TRUE(shows("q quit"));
  press("s");
  EXPECT_TRUE(shows("faults/s*"));
  press("c");
  EXPECT_TRUE(shows("per second*"));
  EXPECT_TRUE(shows("fault_read"));
  press(" ");
  EXPECT_TRUE(shows("(stands still)"));
  press("n");
  EXPECT_TRUE(shows("fault p99"));
  press("q");
  EXPECT_EQ(stat->wait(), 0) << stat->err();
  expect_terminal_is_back();
}

TEST_F(Top, AnInterruptGivesTheTerminalBack) {
  const auto stat = this->stat();
  EXPECT_TRUE(shows("faults/s"));
  ::kill(stat->pid(), SIGINT);
  EXPECT_EQ(stat->wait(), 0) << stat->err();
  expect_terminal_is_back();
}

TEST_F(Top, EndsWithTheJob) {
  const auto stat = this->stat();
  EXPECT_TRUE(shows("faults/s"));
  ::kill(run_.pid(), SIGTERM);
  EXPECT_EQ(stat->wait(), 0);
  EXPECT_NE(stat->err().find("has ended"), std::string::npos) << stat->err();
  expect_terminal_is_back();
}

}  // namespace
}  // namespace dsm::cluster::test
