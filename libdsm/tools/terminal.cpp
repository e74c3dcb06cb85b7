#include "tools/terminal.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

namespace dsm::tools {
namespace {

volatile std::sig_atomic_t ended = 0;
void on_end(int) { ended = 1; }

}  // namespace

bool Terminal::there() { return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1; }

Terminal::Terminal() {
  struct sigaction action {};
  action.sa_handler = on_end;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::tcgetattr(STDIN_FILENO, &before_);
  termios single = before_;
  single.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  single.c_cc[VMIN] = 0;
  single.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &single);
  fmt::print("\x1b[?1049h\x1b[?25l");  // another screen, no cursor
}

Terminal::~Terminal() {
  fmt::print("\x1b[?25h\x1b[?1049l");
  std::fflush(stdout);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

Screen Terminal::screen() const {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return {};
  return {size.ws_row, size.ws_col};
}

// Each line clears what stood behind it, so that nothing flickers.
void Terminal::show(const std::string& text) {
  std::string drawn = "\x1b[H";
  for (const char letter : text) {
    if (letter == '\n')
      drawn += "\x1b[K\r\n";
    else
      drawn += letter;
  }
  fmt::print("{}\x1b[K\x1b[J", drawn);
  std::fflush(stdout);
}

std::string Terminal::keys(int wait_ms, int other) {
  pollfd both[2]{{STDIN_FILENO, POLLIN, 0}, {other, POLLIN, 0}};
  if (ended == 0) ::poll(both, 2, wait_ms);
  if (ended != 0 || (both[0].revents & (POLLHUP | POLLERR)) != 0) return "q";
  char typed[64];
  const ssize_t got = (both[0].revents & POLLIN) != 0 ? ::read(STDIN_FILENO, typed, sizeof typed) : 0;
  return got > 0 ? std::string(typed, static_cast<std::size_t>(got)) : std::string();
}

}  // namespace dsm::tools
