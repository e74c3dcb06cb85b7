// shm's set-up: terabytes are mapped without using memory, and what does not fit gives an error that says what to do.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "net/shm_transport.h"
#include "net/shm_wire.h"
#include "tests/contract/transport_world.h"

namespace dsm::net::test {
namespace {

class Files {
 public:
  Files(std::uint64_t memory_bytes, std::uint64_t meta_bytes, unsigned nodes) {
    params.memory_bytes = memory_bytes;
    params.meta_bytes = meta_bytes;
    for (unsigned i = 0; i < nodes; ++i) {
      params.nodes.push_back({file(memory_bytes), file(shm_meta_file_bytes(meta_bytes, nodes))});
    }
  }
  ~Files() {
    for (const ShmNode& node : params.nodes) {
      close(node.memory_fd);
      close(node.meta_fd);
    }
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  ShmParams params;

 private:
  static int file(std::uint64_t bytes) {
    const int fd = memfd_create("dsm-test", MFD_CLOEXEC);
    EXPECT_EQ(ftruncate(fd, static_cast<off_t>(bytes)), 0);
    return fd;
  }
};

std::uint64_t used_bytes(int fd) {
  struct stat status {};
  EXPECT_EQ(fstat(fd, &status), 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

TEST(ShmSetUp, TerabytesAreMappedLazily) {
  if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer leaves no such address space";
  constexpr std::uint64_t kTerabyte = std::uint64_t{1} << 40;
  Files files(2 * kTerabyte, 16 * (kTerabyte >> 10), 4);
  const auto transport = make_shm_transport(files.params);
  ASSERT_TRUE(transport.has_value()) << describe(transport.error());
  std::uint64_t word = 42;
  for (NodeId node = 0; node < 4; ++node) {
    run_one(**transport, node, write_op(Region::kMemory, 2 * kTerabyte - 8, &word, 8));
    EXPECT_LE(used_bytes(files.params.nodes[node].memory_fd), 4u << 20);  // a huge page at the most
    EXPECT_LE(used_bytes(files.params.nodes[node].meta_fd), 4u << 20);
  }
  std::uint64_t seen = 0;
  std::memcpy(&seen, (*transport)->local_region(Region::kMemory) + 2 * kTerabyte - 8, 8);
  EXPECT_EQ(seen, 42u);
}

TEST(ShmSetUp, DescriptorsMayBeClosedAfterwards) {
  auto files = std::make_unique<Files>(1 << 20, 1 << 16, 1);
  const auto transport = make_shm_transport(files->params);
  ASSERT_TRUE(transport.has_value());
  files.reset();
  EXPECT_EQ(run_one(**transport, 0, fetch_add_op(Region::kMeta, 0, 5)), 0u);
  EXPECT_TRUE((*transport)->send(0, {}).has_value());
}

TEST(ShmSetUp, LocalRegionsAreTheOnesThatOthersReach) {
  Files files(1 << 20, 1 << 16, 2);
  const auto zero = make_shm_transport(files.params);
  files.params.self = 1;
  const auto one = make_shm_transport(files.params);
  ASSERT_TRUE(zero && one);
  auto* word = reinterpret_cast<std::uint64_t*>((*one)->local_region(Region::kMeta) + 64);
  ASSERT_TRUE((*one)->cpu_atomics_agree());
  EXPECT_EQ(__atomic_fetch_add(word, 3, __ATOMIC_SEQ_CST), 0u);
  EXPECT_EQ(run_one(**zero, 1, cas_op(Region::kMeta, 64, 3, 9)), 3u);
  EXPECT_EQ(__atomic_load_n(word, __ATOMIC_SEQ_CST), 9u);
}

TEST(ShmSetUp, AnAddressSpaceLimitGivesAnError) {
  if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer leaves no such address space";
  Files files(std::uint64_t{1} << 40, 1 << 16, 2);
  const auto map_under_limit = [&] {
    const rlimit limit = {std::uint64_t{1} << 40, std::uint64_t{1} << 40};
    setrlimit(RLIMIT_AS, &limit);
    const auto transport = make_shm_transport(files.params);
    const Error error = transport ? Error{} : transport.error();
    std::fputs(describe(error).c_str(), stderr);
    _exit(error.code == Errc::kNoMemory && error.sys_errno == ENOMEM ? 7 : 0);
  };
  EXPECT_EXIT(map_under_limit(), ::testing::ExitedWithCode(7), "DSM_SLICE.*ulimit -v");
}

Errc error_of(const ShmParams& params) {
  const auto transport = make_shm_transport(params);
  return transport ? Errc{} : transport.error().code;
}

TEST(ShmSetUp, BadParametersGiveAnError) {
  Files files(1 << 20, 1 << 16, 3);
  ShmParams params = files.params;
  params.memory_bytes *= 2;
  EXPECT_EQ(error_of(params), Errc::kBadOption) << "memory files too small";
  params = files.params;
  params.meta_bytes += 1;
  EXPECT_EQ(error_of(params), Errc::kBadOption) << "meta files too small";
  params = files.params;
  params.nodes[2].meta_fd = -1;
  EXPECT_EQ(error_of(params), Errc::kSystem);
  params = files.params;
  params.nodes.clear();
  EXPECT_EQ(error_of(params), Errc::kBadOption);
  params.nodes.assign(kMaxNodes + 1, files.params.nodes[0]);
  EXPECT_EQ(error_of(params), Errc::kBadOption);
  params = files.params;
  params.emulate = "fast";
  EXPECT_EQ(error_of(params), Errc::kBadOption);
  EXPECT_EQ(error_of(files.params), Errc{});
}

TEST(ShmSetUp, AnotherLayoutIsRefused) {
  Files files(1 << 20, 1 << 16, 3);
  ASSERT_EQ(error_of(files.params), Errc{});
  ShmParams fewer = files.params;
  fewer.nodes.pop_back();
  EXPECT_EQ(error_of(fewer), Errc::kProtocol);
  const std::uint64_t other_version = shm::stamp(3) + (std::uint64_t{1} << 48);
  const auto at = static_cast<off_t>(shm::mailbox_offset(files.params.meta_bytes));
  ASSERT_EQ(pwrite(files.params.nodes[1].meta_fd, &other_version, 8, at), 8);
  EXPECT_EQ(error_of(files.params), Errc::kProtocol);
}

}  // namespace
}  // namespace dsm::net::test
