#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <system_error>

#include "base/futex.h"
#include "tests/contract/transport_world.h"

namespace dsm::net::test {
namespace {

constexpr unsigned kHangSeconds = 100;

[[noreturn]] void run_node(World& world, NodeId self, const Nodes::Body& body, Meeting& end, unsigned count) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what failed is seen even if the rest then hangs
  alarm(kHangSeconds);
  try {
    const auto transport = world.join(self);
    body(*transport);
    end.meet(count);
  } catch (const std::exception& error) {
    ADD_FAILURE() << "node " << unsigned{self} << ": " << error.what();
  }
  std::fflush(nullptr);
  _exit(::testing::Test::HasFailure() ? 1 : 0);
}

}  // namespace

Nodes::Nodes(World& world, unsigned count, const Body& body) {
  std::fflush(nullptr);
  for (unsigned node = 0; node < count; ++node) {
    const pid_t pid = fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid == 0) run_node(world, static_cast<NodeId>(node), body, *end_, count);
    pids_.push_back(pid);
  }
}

Nodes::~Nodes() {
  for (const pid_t pid : pids_) {
    if (pid == 0) continue;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
}

void Nodes::stop(NodeId node) {
  ASSERT_EQ(kill(pids_[node], SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(waitpid(pids_[node], &status, WUNTRACED), pids_[node]);
  ASSERT_TRUE(WIFSTOPPED(status)) << "node " << unsigned{node} << " ended with status " << status;
}

void Nodes::resume(NodeId node) { ASSERT_EQ(kill(pids_[node], SIGCONT), 0); }

void Nodes::join() {
  for (std::size_t node = 0; node < pids_.size(); ++node) {
    int status = 0;
    ASSERT_EQ(waitpid(pids_[node], &status, 0), pids_[node]);
    pids_[node] = 0;
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
        << "node " << node << (WIFSIGNALED(status) ? " was ended by signal " : " exited with status ")
        << (WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  }
}

void Meeting::meet(std::uint32_t count) {
  const std::uint32_t round = round_.load();
  if (arrived_.fetch_add(1) + 1 == count) {
    arrived_.store(0);
    announce(round_, round + 1);
    return;
  }
  for (unsigned spin = 0; spin < 1000 && round_.load() == round; ++spin) cpu_relax();
  while (round_.load() == round) futex_wait(round_, round, FutexScope::kShared);
}

void await(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
  for (std::uint32_t seen = word.load(); seen != value; seen = word.load()) {
    futex_wait(word, seen, FutexScope::kShared);
  }
}

void announce(std::atomic<std::uint32_t>& word, std::uint32_t value) {
  word.store(value);
  futex_wake(word, INT32_MAX, FutexScope::kShared);
}

std::uint64_t run_one(Transport& transport, NodeId node, Op op) {
  EXPECT_TRUE(transport.execute(node, {&op, 1}).has_value());
  return op.old;
}

}  // namespace dsm::net::test
