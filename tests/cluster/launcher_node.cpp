// The program that the launcher's tests run as nodes: launcher_node <what to do>. It uses the cluster layer only.
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/stats.h"
#include "cluster/control.h"
#include "cluster/job.h"

namespace {

using dsm::cluster::Job;
using dsm::cluster::PeerDown;

template <typename... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print("{}\n", fmt::format(format, std::forward<Args>(args)...));
  std::fflush(stdout);
}

// Leaves with status 50 if the job cannot be joined, after libdsm has said why.
std::unique_ptr<Job> join() {
  const auto config = dsm::read_config();
  if (!config) std::exit(51);
  auto job = dsm::cluster::join_job(*config);
  if (!job) std::exit(50);
  return std::move(*job);
}

[[noreturn]] void wait_for_ever() {
  for (;;) ::pause();
}

void wait_for_stdin() {
  char byte;
  while (::read(STDIN_FILENO, &byte, 1) < 0) {
  }
}

dsm::NodeStats* map_stats(const Job& job) {
  void* mapped = ::mmap(nullptr, job.geometry().nodes * sizeof(dsm::NodeStats), PROT_READ | PROT_WRITE, MAP_SHARED,
                        job.stats_fd(), 0);
  if (mapped == MAP_FAILED) std::exit(52);
  return static_cast<dsm::NodeStats*>(mapped);
}

int report_identity() {
  const auto job = join();
  const auto& geometry = job->geometry();
  bool sizes_fit = job->fds().size() == geometry.nodes;
  for (const auto& fds : job->fds()) {
    if (fds.memory_fd < 0 && fds.meta_fd < 0) continue;  // a node of another host
    struct stat memory {};
    struct stat meta {};
    ::fstat(fds.memory_fd, &memory);
    ::fstat(fds.meta_fd, &meta);
    sizes_fit = sizes_fit && static_cast<std::uint64_t>(memory.st_size) == geometry.memory_bytes() &&
                static_cast<std::uint64_t>(meta.st_size) > job->meta_bytes();
  }
  say("node {} of {}, pid {}, slice {}, regions {}", job->self(), geometry.nodes, ::getpid(), geometry.slice_bytes,
      sizes_fit ? "fit" : "do not fit");
  return job->finish(0) ? 0 : 53;
}

// Waits to be told of a death, says so, and ends with status 9.
int wait_for_news() {
  const auto job = join();
  job->watch([](const PeerDown& down) {
    say("told: node {} (pid {}) {}", down.node, down.pid, down.how);
    std::_Exit(9);
  });
  say("ready, pid {}", ::getpid());
  wait_for_ever();
}

// Has a child of its own and lets nothing that can be caught end it.
int be_stubborn() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_IGN);
  const auto job = join();
  job->watch([](const PeerDown&) { wait_for_ever(); });
  const pid_t child = ::fork();
  if (child == 0) wait_for_ever();
  say("ready, pid {} child {}", ::getpid(), child);
  wait_for_ever();
}

// As be_stubborn, but never joins.
int be_stubborn_stranger() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_IGN);
  say("ready, pid {}", ::getpid());
  wait_for_ever();
}

// Node 0 waits for a byte of input before it finishes; all say when they begin and when they are through.
int finish_together() {
  const auto job = join();
  if (job->self() == 0) wait_for_stdin();
  say("finishing");
  const bool all = job->finish(0);
  say("{}", all ? "through" : "broken");
  return all ? 0 : 54;
}

// Node 1 does not wait for node 0, which waits for input.
int finish_in_vain() {
  const auto job = join();
  if (job->self() == 0) {
    wait_for_stdin();
    return job->finish(0) ? 0 : 54;
  }
  say("{}", job->finish(20) ? "through" : "timed out");
  return 0;
}

// Node 1 ends as if all were well, once the others have joined, who wait for it in finish().
int leave() {
  const auto job = join();
  dsm::NodeStats* stats = map_stats(*job);
  if (job->self() == 1) {
    for (unsigned node = 0; node < job->geometry().nodes; ++node) {
      while (node != 1 && stats[node].barrier == 0) ::usleep(1000);
    }
    return 0;
  }
  job->watch([](const PeerDown& down) { say("told: node {} {}", down.node, down.how); });
  dsm::count(stats[job->self()].barrier);
  const bool all = job->finish(0);
  say("{}", all ? "through" : "broken");
  return 0;
}

// Node 1 closes every descriptor that it knows nothing of, as daemons do.
int close_all() {
  const auto job = join();
  dsm::NodeStats* stats = map_stats(*job);
  // Node 1 has no watcher: one that is inside poll() would keep the connection open although it is closed.
  if (job->self() == 0) {
    job->watch([](const PeerDown& down) {
      say("told: node {} {}", down.node, down.how);
      std::_Exit(0);
    });
  }
  dsm::count(stats[job->self()].barrier);
  while (job->self() == 1 && stats[0].barrier == 0) ::usleep(1000);
  if (job->self() == 1) ::close_range(3, ~0U, 0);
  wait_for_ever();
}

int join_after_change() {
  ::setenv("DSM_SLICE", "128M", 1);
  join();
  return 0;
}

// After joining: once more, from a forked child, and from a program that this one starts.
int join_again(const char* self) {
  const auto job = join();
  const auto config = dsm::read_config();
  say("again: {}", dsm::cluster::join_job(*config) ? "joined" : "refused");
  for (const bool exec : {false, true}) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (exec) ::execl(self, self, "identity", nullptr);
      std::_Exit(dsm::cluster::join_job(*config) ? 0 : 50);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    say("{}: {}", exec ? "exec" : "fork", WEXITSTATUS(status) == 50 ? "refused" : "joined");
  }
  return job->finish(0) ? 0 : 53;
}

// Writes nonsense to the rendezvous, then joins properly.
int talk_nonsense() {
  // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): dsmrun sets it
  const int rendezvous = std::atoi(std::getenv("DSM_CONTROL_FD"));
  for (const std::size_t size : {std::size_t{1}, std::size_t{16}, std::size_t{2048}, std::size_t{60000}}) {
    const std::string nonsense(size, 'x');
    static_cast<void>(!::write(rendezvous, nonsense.data(), nonsense.size()));
  }
  return report_identity();
}

// Counts something, and waits for input (node 0) or the others.
int count_something() {
  const auto job = join();
  dsm::NodeStats& stats = map_stats(*job)[job->self()];
  std::strcpy(stats.engine, "test");
  dsm::count(stats.fault_read, 1000 * (job->self() + 1U));
  for (int i = 0; i < 99; ++i) stats.fault_latency.add(1000);
  stats.fault_latency.add(1'000'000);
  say("ready, pid {}", ::getpid());
  if (job->self() == 0) wait_for_stdin();
  return job->finish(0) ? 0 : 54;
}

int be_alone() {
  const auto job = join();
  job->watch([](const PeerDown&) { std::abort(); });
  say("node {} of {}, finish {}", job->self(), job->geometry().nodes, job->finish(0) ? 1 : 0);
  map_stats(*job)->fault_read = 1;
  return 0;
}

// What a node gives in a round of the exchange: another size each time, none and the most among them.
std::vector<std::byte> share(unsigned node, unsigned round) {
  const std::size_t most = dsm::kMaxExchangeBytes;
  const std::size_t sizes[] = {0, most, 1 + node, most - round};
  return std::vector<std::byte>(sizes[(node + round) % 4], static_cast<std::byte>(16 * round + node));
}

int exchange_all() {
  const auto job = join();
  for (unsigned round = 0; round < 6; ++round) {
    const auto shares = job->exchange(share(job->self(), round));
    if (!shares) return 55;
    bool right = shares->size() == job->geometry().nodes;
    for (unsigned node = 0; right && node < shares->size(); ++node) right = (*shares)[node] == share(node, round);
    say("round {} {}", round, right ? "right" : "wrong");
  }
  return job->finish(0) ? 0 : 53;
}

// Node 1 dies by SIGKILL or, `well`, ends as if all were well, when the others wait for it in the second round.
int exchange_in_vain(bool well) {
  const auto job = join();
  if (!job->exchange({})) return 55;
  dsm::NodeStats* stats = map_stats(*job);
  if (job->self() != 1) {
    dsm::count(stats[job->self()].barrier);
    return job->exchange({}) ? 0 : 55;
  }
  while (stats[0].barrier == 0) ::usleep(1000);
  if (!well) ::kill(::getpid(), SIGKILL);
  return 0;
}

volatile std::sig_atomic_t signals_seen[65];

// Says which signals arrive; SIGTERM ends it with status 0.
int tell_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) {
    std::signal(signal, [](int number) { signals_seen[number] = 1; });
  }
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, &before);
  say("ready, pid {}", ::getpid());
  for (;;) {
    ::sigsuspend(&before);
    for (int number = 1; number < 65; ++number) {
      if (signals_seen[number] == 0) continue;
      signals_seen[number] = 0;
      say("signal {}", ::sigabbrev_np(number));
      if (number == SIGTERM) return 0;
    }
  }
}

// 100 lines of 30,000 equal letters on stdout, the same on stderr in capitals, in small pieces; then a line without
// end.
int write_lines(const char* letter) {
  for (int line = 0; line < 100; ++line) {
    for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
      const char byte = static_cast<char>(fd == STDERR_FILENO ? *letter - 'a' + 'A' : *letter);
      std::string text(30'000, byte);
      text += '\n';
      for (std::size_t at = 0; at < text.size();) {
        const ssize_t put = ::write(fd, text.data() + at, std::min<std::size_t>(7001, text.size() - at));
        if (put > 0) at += static_cast<std::size_t>(put);
      }
    }
  }
  static_cast<void>(!::write(STDOUT_FILENO, "no end", 6));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "identity") return report_identity();
  if (what == "news") return wait_for_news();
  if (what == "stubborn") return be_stubborn();
  if (what == "stubborn-stranger") return be_stubborn_stranger();
  if (what == "finish-together") return finish_together();
  if (what == "finish-in-vain") return finish_in_vain();
  if (what == "leave") return leave();
  if (what == "close-all") return close_all();
  if (what == "change") return join_after_change();
  if (what == "again") return join_again(argv[0]);
  if (what == "nonsense") return talk_nonsense();
  if (what == "count") return count_something();
  if (what == "alone") return be_alone();
  if (what == "exchange") return exchange_all();
  if (what == "exchange-killed") return exchange_in_vain(false);
  if (what == "exchange-left") return exchange_in_vain(true);
  if (what == "signals") return tell_signals();
  if (what == "lines") return write_lines(argv[2]);
  fmt::print(stderr, "launcher_node: nothing is called '{}'\n", what);
  return 99;
}
