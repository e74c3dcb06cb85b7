#include "cluster/launch.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>

#include "cluster/control.h"

namespace dsm::cluster {

namespace {

// Out of the way of programs (shell scripts, mostly) that use low descriptors by number.
constexpr int kLeastControlFd = 100;

struct ChildPlan {
  const char* path;
  char* const* argv;
  char* const* envp;
  Streams streams;
  int control_fd;
  int report_fd;
  pid_t launcher;
  const SignalDesk* signals;
};

[[noreturn]] void give_up(int report_fd) {
  const int error = errno;
  static_cast<void>(!::write(report_fd, &error, sizeof error));
  ::_exit(127);
}

// In the forked child: async-signal-safe calls only.
[[noreturn]] void run_child(const ChildPlan& plan) {
  ::setpgid(0, 0);
  // Until it joins, a node learns of dsmrun's death by this; afterwards by its socket (job.cpp).
  if (::prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) give_up(plan.report_fd);
  if (::getppid() != plan.launcher) ::_exit(127);
  const int wanted[3] = {plan.streams.in, plan.streams.out, plan.streams.err};
  for (int i = 0; i < 3; ++i) {
    // dup2 onto itself would leave close-on-exec set.
    const bool same = wanted[i] == i;
    if (same ? ::fcntl(i, F_SETFD, 0) != 0 : ::dup2(wanted[i], i) < 0) give_up(plan.report_fd);
  }
  if (::fcntl(plan.control_fd, F_SETFD, 0) != 0) give_up(plan.report_fd);
  plan.signals->restore();
  ::execve(plan.path, plan.argv, plan.envp);
  give_up(plan.report_fd);
}

// "100:48213": the descriptor and the socket's inode, so that a process which inherited the variable but not the
// descriptor does not take another file for it.
Result<std::string> control_variable(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail(Errc::kSystem, "cannot inspect a control socket", errno);
  return fmt::format("DSM_CONTROL_FD={}:{}", fd, status.st_ino);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> made;
  made.reserve(texts.size() + 1);
  for (std::string& text : texts) made.push_back(text.data());
  made.push_back(nullptr);
  return made;
}

std::string_view name_of(std::string_view setting) { return setting.substr(0, setting.find('=')); }

std::vector<std::string> environment_with(const Program& program, const std::string& control) {
  std::vector<std::string> made = program.environment;
  made.push_back(control);
  const std::size_t ours = made.size();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const auto same = [&](const std::string& setting) { return name_of(setting) == name_of(*entry); };
    const auto end = made.begin() + static_cast<std::ptrdiff_t>(ours);
    if (std::find_if(made.begin(), end, same) == end) made.emplace_back(*entry);
  }
  return made;
}

}  // namespace

Result<Spawned> spawn(const Program& program, const Streams& streams, const SignalDesk& signals) {
  auto rendezvous = make_socket_pair();
  if (!rendezvous) return tl::unexpected(rendezvous.error());
  const UniqueFd control(::fcntl(rendezvous->far.get(), F_DUPFD_CLOEXEC, kLeastControlFd));
  if (!control) return fail(Errc::kSystem, "cannot move a control socket", errno);
  rendezvous->far.reset();
  const int on = 1;
  if (::setsockopt(rendezvous->near.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) {
    return fail(Errc::kSystem, "cannot set up a control socket", errno);
  }
  auto variable = control_variable(control.get());
  if (!variable) return tl::unexpected(variable.error());
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) return fail(Errc::kSystem, "cannot make a pipe", errno);
  const UniqueFd report_reader(report[0]);
  UniqueFd report_writer(report[1]);

  std::vector<std::string> args = program.args;
  std::vector<std::string> environment = environment_with(program, *variable);
  const std::vector<char*> argv = pointers(args);
  const std::vector<char*> envp = pointers(environment);
  const ChildPlan plan{program.path.c_str(), argv.data(),         envp.data(), streams,
                       control.get(),        report_writer.get(), ::getpid(),  &signals};
  const pid_t pid = ::fork();
  if (pid < 0) return fail(Errc::kSystem, "cannot start a process", errno);
  if (pid == 0) run_child(plan);
  ::setpgid(pid, pid);  // both sides do it: whoever comes first
  report_writer.reset();

  int error = 0;
  ssize_t got = 0;
  do {
    got = ::read(report_reader.get(), &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == 0) return Spawned{pid, std::move(rendezvous->near)};
  ::waitpid(pid, nullptr, 0);
  return fail(Errc::kNotFound, "cannot execute the program", error);
}

}  // namespace dsm::cluster
