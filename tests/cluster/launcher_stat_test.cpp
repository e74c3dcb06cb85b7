// dsmstat, and what strangers may do to the socket that serves it. Runs in a network namespace of its own, where no
// other job of this machine is seen.
#include <fcntl.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/stats.h"
#include "cluster/control.h"
#include "cluster/stats_client.h"
#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

using Json = nlohmann::json;

// For users who may not make a network namespace otherwise. They stay who they are.
bool enter_user_namespace() {
  const std::string users = fmt::format("{0} {0} 1", ::geteuid());
  const std::string groups = fmt::format("{0} {0} 1", ::getegid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << users;
  std::ofstream("/proc/self/gid_map") << groups;
  return true;
}

class LauncherStat : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { alone_ = ::unshare(CLONE_NEWNET) == 0 || enter_user_namespace(); }
  void SetUp() override {
    if (!alone_) GTEST_SKIP() << "NOT TESTED: needs the right to make a network namespace";
  }

  static std::vector<std::string> stat(const std::string& options) { return words(bin("dsmstat") + " " + options); }

  static inline bool alone_ = false;
};

UniqueFd connect_to(pid_t launcher) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const JobAddress address = job_address(::geteuid(), launcher);
  if (::connect(socket.get(), address.get(), address.size()) != 0) socket.reset();
  return socket;
}

TEST_F(LauncherStat, OneReadingAsJson) {
  Process run(job("-n 2", "count"));
  run.wait_for("ready", 2);
  Process stat(LauncherStat::stat("--json --once"));
  EXPECT_EQ(stat.wait(), 0) << stat.err();
  const Json json = Json::parse(stat.out());
  EXPECT_EQ(json["job"], run.pid());
  EXPECT_EQ(json["program"], bin("launcher_node"));
  EXPECT_EQ(json["nodes"].size(), 2U);
  EXPECT_EQ(json["nodes"][1]["engine"], "test");
  EXPECT_EQ(json["nodes"][1]["counters"]["fault_read"], 2000);
  EXPECT_EQ(json["nodes"][1]["pid"], numbers_after(run.out(), "[1] ready, pid ").front());
  EXPECT_EQ(json["total"]["counters"]["fault_read"], 3000);
  EXPECT_EQ(json["total"]["latencies"]["fault_latency"]["max_ns"], 1'000'000);
  EXPECT_EQ(run.wait(), 0) << run.err();
}

TEST_F(LauncherStat, OneReadingForPrometheus) {
  Process run(job("-n 2", "count"));
  run.wait_for("ready", 2);
  Process stat(LauncherStat::stat("--prometheus"));
  EXPECT_EQ(stat.wait(), 0) << stat.err();
  const std::string line = "dsm_fault_read_total{job_pid=\"" + std::to_string(run.pid()) + "\",node=\"1\"} 2000\n";
  EXPECT_NE(stat.out().find(line), std::string::npos) << stat.out();
  EXPECT_NE(stat.out().find("# TYPE dsm_fault_read_total counter\n"), std::string::npos);
  EXPECT_EQ(run.wait(), 0) << run.err();
}

TEST_F(LauncherStat, FollowsAJobToItsEnd) {
  Process run(job("-n 2", "count"));
  run.wait_for("ready", 2);
  Process stat(LauncherStat::stat(std::to_string(run.pid()) + " --json --interval 0.01"));
  stat.wait_for("\"rates\"");
  EXPECT_EQ(run.wait(), 0) << run.err();
  EXPECT_EQ(stat.wait(), 0) << stat.err();
  EXPECT_NE(stat.err().find("has ended"), std::string::npos) << stat.err();
  const std::size_t begin = stat.out().rfind('\n', stat.out().size() - 2) + 1;
  const Json last = Json::parse(stat.out().substr(begin));
  EXPECT_EQ(last["total"]["counters"]["fault_read"], 3000);
  EXPECT_EQ(last["total"]["rates"]["fault_read"], 0.0);
  EXPECT_GT(last["interval_s"], 0.0);
}

TEST_F(LauncherStat, ATableForPeople) {
  Process run(job("-n 2", "count"));
  run.wait_for("ready", 2);
  Process stat(LauncherStat::stat("--once"));
  EXPECT_EQ(stat.wait(), 0) << stat.err();
  EXPECT_NE(stat.out().find("engine test"), std::string::npos) << stat.out();
  EXPECT_NE(stat.out().find("fault_read        faults                  3000            1000            2000"),
            std::string::npos)
      << stat.out();
  EXPECT_NE(stat.out().find("1.00 ms"), std::string::npos) << stat.out();
  EXPECT_EQ(run.wait(), 0);
}

TEST_F(LauncherStat, SaysWhatIsWrong) {
  Process none(stat("--once"));
  EXPECT_EQ(none.wait(), 69);
  EXPECT_NE(none.err().find("no job of yours"), std::string::npos) << none.err();
  Process unknown(stat("1 --once"));
  EXPECT_EQ(unknown.wait(), 69);
  EXPECT_NE(unknown.err().find("no job 1"), std::string::npos) << unknown.err();
  Process wrong(stat("--interval soon"));
  EXPECT_EQ(wrong.wait(), 64);
  for (const char* text : {"abc", "-5", "0", "12x", "99999999999"}) {
    Process no_pid(stat(std::string(text) + " --once"));
    EXPECT_EQ(no_pid.wait(), 64);
    EXPECT_NE(no_pid.err().find(std::string(text) + " is no pid"), std::string::npos) << no_pid.err();
  }

  Process first(job("-n 1", "count"));
  Process second(job("-n 2", "count"));
  first.wait_for("ready");
  second.wait_for("ready", 2);
  Process several(stat("--once"));
  EXPECT_EQ(several.wait(), 64);
  EXPECT_NE(several.err().find("several jobs"), std::string::npos) << several.err();
  Process listed(stat("--list"));
  EXPECT_EQ(listed.wait(), 0);
  for (const Process* run : {&first, &second}) {
    EXPECT_NE(listed.out().find(std::to_string(run->pid())), std::string::npos) << listed.out();
  }
  Process chosen(stat(std::to_string(second.pid()) + " --once --json"));
  EXPECT_EQ(chosen.wait(), 0);
  EXPECT_EQ(Json::parse(chosen.out())["nodes"].size(), 2U);
  EXPECT_EQ(first.wait(), 0);
  EXPECT_EQ(second.wait(), 0);
}

TEST_F(LauncherStat, TheCountersCannotBeChangedFromOutside) {
  Process run(job("-n 1", "count"));
  run.wait_for("ready");
  const auto job_view = open_job({::geteuid(), run.pid()});
  ASSERT_TRUE(job_view) << describe(job_view.error());
  const int fd = job_view->counters.get();
  EXPECT_EQ(::fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(::write(fd, "x", 1), -1);
  EXPECT_NE(::ftruncate(fd, 0), 0);
  EXPECT_EQ(run.wait(), 0);
}

TEST_F(LauncherStat, NonsenseIsRefusedAndDisturbsNothing) {
  Process run(job("-n 2", "count"));
  run.wait_for("ready", 2);
  const std::string nonsense(3000, 'x');
  auto other_kind = make_message<StatsRequest>();
  other_kind.head.kind = MessageKind::kHello;
  auto too_long = make_message<StatsRequest>();
  too_long.head.bytes = 17;
  const std::vector<std::string> packets = {"x",
                                            nonsense,
                                            {reinterpret_cast<const char*>(&other_kind), sizeof other_kind},
                                            {reinterpret_cast<const char*>(&too_long), sizeof too_long}};
  for (const std::string& packet : packets) {
    const UniqueFd socket = connect_to(run.pid());
    ASSERT_TRUE(socket);
    ASSERT_EQ(::send(socket.get(), packet.data(), packet.size(), MSG_NOSIGNAL), static_cast<ssize_t>(packet.size()));
    char byte;
    EXPECT_LE(::recv(socket.get(), &byte, 1, 0), 0);  // closed without an answer
  }
  run.wait_for("no request of dsmstat", static_cast<int>(packets.size()));
  // A request with a gift: the descriptor must be neither kept nor answered.
  const UniqueFd giver = connect_to(run.pid());
  const int gift[] = {STDIN_FILENO};
  ASSERT_TRUE(send_message(giver.get(), make_message<StatsRequest>(), 0, gift));
  char byte;
  EXPECT_LE(::recv(giver.get(), &byte, 1, 0), 0);
  // Many who connect and say nothing do not keep out one who asks.
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(connect_to(run.pid()));
  Process stat(LauncherStat::stat("--once --json"));
  EXPECT_EQ(stat.wait(), 0) << stat.err();
  EXPECT_EQ(Json::parse(stat.out())["total"]["counters"]["fault_read"], 3000);
  EXPECT_EQ(run.wait(), 0) << run.err();
}

TEST_F(LauncherStat, OtherUsersAreRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "NOT TESTED: needs root to become another user";
  Process run(job("-n 2", "count"));
  run.wait_for("ready", 2);
  const pid_t stranger = ::fork();
  if (stranger == 0) {
    if (::setuid(65534) != 0) ::_exit(2);
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
    const JobAddress address = job_address(0, run.pid());
    if (::connect(socket.get(), address.get(), address.size()) != 0) ::_exit(3);
    static_cast<void>(!send_message(socket.get(), make_message<StatsRequest>()));
    Packet packet;
    ::_exit(receive(socket.get(), packet, 0) == Received::kPacket ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(stranger, &status, 0), stranger);
  EXPECT_EQ(status, 0);
  run.wait_for("it is another user's");
  EXPECT_EQ(run.wait(), 0) << run.err();
}

}  // namespace
}  // namespace dsm::cluster::test
