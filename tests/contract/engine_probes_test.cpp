// The choice of an engine on machines that lack something. Children make this machine such a one.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>

#include "base/log.h"
#include "engine_rig.h"

namespace dsm::mem {
namespace {

constexpr unsigned kRefuse = SECCOMP_RET_ERRNO | EPERM;

// As a container's filter does: no userfaultfd, by system call or by device.
bool forbid_userfaultfd() {
  constexpr unsigned kNumber = offsetof(seccomp_data, nr);
  constexpr unsigned kSecondArgument = offsetof(seccomp_data, args[1]);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kSecondArgument),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, USERFAULTFD_IOC_NEW, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, kRefuse),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(EngineProbes, AutoChoosesOneThatRuns) {
  Rig rig("auto");
  EXPECT_EQ(rig.engine->name(), std::string(engine_obstacle("uffd-inline").empty() ? "uffd-inline" : "sigsegv"));
  rig.app(rig.foreign) = 4;
  EXPECT_EQ(rig.served(rig.foreign), 4U);
}

TEST(EngineProbes, UnknownNameIsABadOption) {
  EXPECT_NE(engine_obstacle("nonsense"), "");
  const auto engine = make_engine("nonsense", test_geometry(), nullptr);
  ASSERT_FALSE(engine.has_value());
  EXPECT_EQ(engine.error().code, Errc::kBadOption);
}

TEST(EngineProbes, ForbiddenUserfaultfdIsNamedAndAutoTakesSigsegv) {
  EXPECT_EQ(in_child([] {
              if (!forbid_userfaultfd()) _exit(1);
              for (const char* name : {"uffd-inline", "uffd-thread"}) {
                if (engine_obstacle(name).find("seccomp") == std::string::npos) _exit(2);
                const auto engine = make_engine(name, test_geometry(), nullptr);
                if (engine.has_value() || engine.error().code != Errc::kNoSupport) _exit(3);
              }
              Rig rig("auto");
              if (rig.engine->name() != std::string("sigsegv")) _exit(4);
              rig.app(rig.foreign) = 4;
              if (rig.served(rig.foreign) != 4) _exit(5);
            }),
            0);
}

// A plain user may handle faults of user mode only: both userfaultfd engines work, and the thread engine says what does
// not.
TEST(EngineProbes, PlainUserGetsUserModeFaults) {
  if (geteuid() == 0 && !engine_obstacle("uffd-thread").empty()) GTEST_SKIP() << engine_obstacle("uffd-thread");
  testing::internal::CaptureStderr();
  const int end = in_child([] {
    constexpr unsigned kNobody = 65534;
    if (geteuid() == 0 && (setresgid(kNobody, kNobody, kNobody) != 0 || setresuid(kNobody, kNobody, kNobody) != 0)) {
      _exit(1);
    }
    for (const char* name : {"uffd-inline", "uffd-thread"}) {
      if (!engine_obstacle(name).empty()) _exit(2);
      Rig rig(name);
      rig.app(rig.foreign) = 4;
      if (rig.served(rig.foreign) != 4) _exit(3);
    }
  });
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(end, 0);
  EXPECT_NE(said.find("EFAULT"), std::string::npos) << said;
}

}  // namespace
}  // namespace dsm::mem
