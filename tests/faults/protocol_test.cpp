// A peer that breaks the message protocol ends the job, with its name.
#include <gtest/gtest.h>

#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {
namespace {

TEST(BrokenProtocol, EndsTheJobWithThePeersName) {
  Process run({bin("dsmrun"), "-n", "2", "--", bin("faults_liar")});
  const pid_t launcher = run.pid();
  EXPECT_EQ(run.wait(), 71) << run.err();
  EXPECT_NE(run.err().find("node 1 broke the message protocol"), std::string::npos) << run.err();
  EXPECT_NE(run.err().find("dsmrun: node 0"), std::string::npos) << run.err();
  EXPECT_TRUE(eventually([&] { return !job_memory_left(launcher); }));
}

TEST(BrokenProtocol, HelpListsTheExitCode) {
  Process run({bin("dsmrun"), "--help"});
  EXPECT_EQ(run.wait(), 0);
  EXPECT_NE(run.out().find("\n  71 "), std::string::npos) << run.out();
}

}  // namespace
}  // namespace dsm::cluster::test
