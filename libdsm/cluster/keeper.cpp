#include "cluster/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <set>

#include "base/clock.h"

namespace dsm::cluster {

namespace {

enum class Order : int { kWatch = 1, kForget, kOver };

struct Note {
  Order order;
  pid_t group;
};

void send_all(const std::set<pid_t>& groups, int signal) {
  for (const pid_t group : groups) ::kill(-group, signal);
}

// True if all groups are gone before the time is over.
bool wait_for_end(std::set<pid_t>& groups, int milliseconds) {
  const std::int64_t deadline = now_ns() + std::int64_t{milliseconds} * 1'000'000;
  while (now_ns() < deadline) {
    std::erase_if(groups, [](pid_t group) { return ::kill(-group, 0) != 0 && errno == ESRCH; });
    if (groups.empty()) return true;
    ::poll(nullptr, 0, 20);
  }
  return false;
}

[[noreturn]] void keep(int pipe) {
  std::set<pid_t> groups;
  Note note{};
  for (;;) {
    const ssize_t got = ::read(pipe, &note, sizeof note);
    if (got < 0 && errno == EINTR) continue;
    if (got != static_cast<ssize_t>(sizeof note)) break;
    if (note.order == Order::kOver) ::_exit(0);
    if (note.order == Order::kWatch) groups.insert(note.group);
    if (note.order == Order::kForget) groups.erase(note.group);
  }
  if (!wait_for_end(groups, kGraceMs)) {
    send_all(groups, SIGTERM);
    if (!wait_for_end(groups, kTerminateMs)) send_all(groups, SIGKILL);
  }
  ::_exit(0);
}

[[noreturn]] void become_keeper(int pipe) {
  ::setsid();
  ::prctl(PR_SET_NAME, "dsm-keeper");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGPIPE})
    ::signal(signal, SIG_IGN);
  // Only the pipe stays: what the keeper holds open would outlive dsmrun.
  if (pipe != STDIN_FILENO) ::dup2(pipe, STDIN_FILENO);
  ::close_range(1, ~0U, 0);
  keep(STDIN_FILENO);
}

}  // namespace

Result<Keeper> Keeper::start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Errc::kSystem, "cannot make a pipe", errno);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return fail(Errc::kSystem, "cannot start a process", errno);
  if (pid == 0) become_keeper(reader.get());
  return Keeper(pid, std::move(writer));
}

Keeper::Keeper(Keeper&& other) noexcept : pid_(std::exchange(other.pid_, -1)), pipe_(std::move(other.pipe_)) {}

namespace {

// A keeper that somebody has killed is no reason to stop the job: the write fails, and that is all.
void tell(int pipe, Order order, pid_t group) {
  const Note note{order, group};
  static_cast<void>(!::write(pipe, &note, sizeof note));
}

}  // namespace

Keeper::~Keeper() {
  if (pid_ < 0) return;
  tell(pipe_.get(), Order::kOver, 0);
  pipe_.reset();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Keeper::watch_group(pid_t group) { tell(pipe_.get(), Order::kWatch, group); }
void Keeper::forget_group(pid_t group) { tell(pipe_.get(), Order::kForget, group); }

}  // namespace dsm::cluster
