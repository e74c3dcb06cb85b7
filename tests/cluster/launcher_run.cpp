#include "tests/cluster/launcher_run.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace dsm::cluster::test {

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void exec_child(std::vector<std::string>& command, const Start& start) {
  if (start.in_child) start.in_child();
  for (const std::string& setting : start.environment) {
    const std::size_t equals = setting.find('=');
    ::setenv(setting.substr(0, equals).c_str(), setting.substr(equals + 1).c_str(), 1);
  }
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  ::_exit(125);
}

}  // namespace

std::string bin(const std::string& program) { return std::string(DSM_BIN_DIR) + "/" + program; }

Process::Process(std::vector<std::string> command, Start start) {
  int in[2];
  int out[2];
  int err[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) std::abort();
  pid_ = ::fork();
  if (pid_ < 0) std::abort();
  if (pid_ == 0) {
    ::dup2(start.stdin_fd >= 0 ? start.stdin_fd : in[0], 0);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    exec_child(command, start);
  }
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);
  in_ = in[1];
  from_[0] = out[0];
  from_[1] = err[0];
}

Process::~Process() {
  close_input();
  for (const int fd : from_) {
    if (fd >= 0) ::close(fd);
  }
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Process::type(const std::string& text) {
  ASSERT_EQ(::write(in_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

void Process::close_input() {
  if (in_ >= 0) ::close(in_);
  in_ = -1;
}

bool Process::read_some() {
  pollfd polled[] = {{from_[0], POLLIN, 0}, {from_[1], POLLIN, 0}};
  if (from_[0] < 0 && from_[1] < 0) return false;
  const int ready = ::poll(polled, 2, static_cast<int>(std::chrono::milliseconds(kDeadline).count()));
  if (ready <= 0) return ready < 0 && errno == EINTR;
  for (int i = 0; i < 2; ++i) {
    if (polled[i].revents == 0) continue;
    char bytes[65536];
    const ssize_t got = ::read(from_[i], bytes, sizeof bytes);
    if (got > 0) {
      text_[i].append(bytes, static_cast<std::size_t>(got));
    } else {
      ::close(from_[i]);
      from_[i] = -1;
    }
  }
  return true;
}

void Process::wait_for(const std::string& text, int times) {
  while (count(out(), text) + count(err(), text) < times) {
    if (!read_some()) {
      FAIL() << "\"" << text << "\" did not come " << times << " times\nstdout:\n" << out() << "\nstderr:\n" << err();
    }
  }
}

int Process::wait() {
  close_input();
  while (read_some()) {
  }
  int status = 0;
  if (!eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; })) {
    ADD_FAILURE() << "process " << pid_ << " does not end\nstdout:\n" << out() << "\nstderr:\n" << err();
    return -1;
  }
  pid_ = -1;
  while (read_some()) {  // what it wrote after a long silence
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

std::vector<std::string> job(const std::string& options, const std::string& what) {
  return words(bin("dsmrun") + " --slice 64M --interleaved 64M " + options + " -- " + bin("launcher_node") + " " +
               what);
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

std::vector<pid_t> numbers_after(const std::string& text, const std::string& label) {
  std::vector<pid_t> numbers;
  for (std::size_t at = text.find(label); at != std::string::npos; at = text.find(label, at + 1)) {
    numbers.push_back(std::atoi(text.c_str() + at + label.size()));
  }
  return numbers;
}

bool eventually(const std::function<bool()>& condition) {
  const auto deadline = Clock::now() + kDeadline;
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

char state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return '-';
  const std::size_t name_end = text.rfind(')');
  return name_end == std::string::npos ? '-' : text[name_end + 2];
}

bool is_gone(pid_t pid) {
  const char state = state_of(pid);
  return state == '-' || state == 'Z' || state == 'X';
}

bool all_gone(const std::vector<pid_t>& pids) {
  return eventually([&] { return std::all_of(pids.begin(), pids.end(), is_gone); });
}

bool job_memory_left(pid_t launcher) {
  namespace fs = std::filesystem;
  const std::vector<std::string> names = {fmt::format("memfd:dsm-memory-{}-", launcher),
                                          fmt::format("memfd:dsm-meta-{}-", launcher),
                                          fmt::format("memfd:dsm-stats-{} ", launcher)};
  const auto is_ours = [&](const std::string& text) {
    return std::any_of(names.begin(), names.end(),
                       [&](const auto& name) { return text.find(name) != std::string::npos; });
  };
  std::error_code ignored;  // processes come and go under us
  for (const auto& process : fs::directory_iterator("/proc", ignored)) {
    for (fs::directory_iterator fd(process.path() / "fd", ignored), end; fd != end; fd.increment(ignored)) {
      if (is_ours(fs::read_symlink(fd->path(), ignored).string())) return true;
    }
    std::ifstream maps(process.path() / "maps");
    for (std::string line; std::getline(maps, line);) {
      if (is_ours(line)) return true;
    }
  }
  return false;
}

std::vector<std::string> left_in_file_system() {
  std::vector<std::string> names;
  for (const char* folder : {"/dev/shm", "/tmp"}) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
      if (entry.path().filename().string().find("dsm") != std::string::npos) names.push_back(entry.path());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace dsm::cluster::test
