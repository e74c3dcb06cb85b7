#include "bench/micro/bare.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#ifndef UFFDIO_CONTINUE_MODE_WP  // Linux 6.4
#define UFFDIO_CONTINUE_MODE_WP (1ULL << 1)
#endif

namespace dsm::bench {
namespace {

constexpr std::size_t kPage = 4096;

Bare* armed = nullptr;
struct sigaction before;

constexpr greg_t kErrorWrite = 1 << 1;

void on_sigbus(int, siginfo_t* info, void* context) {
  const greg_t error = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR];
  armed->resolve(reinterpret_cast<std::uintptr_t>(info->si_addr), (error & kErrorWrite) != 0);
}

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(69);
}

std::byte* map_file(int fd, std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (memory == MAP_FAILED) die("bench: mmap");
  return static_cast<std::byte*>(memory);
}

int make_file(std::size_t bytes) {
  const int fd = ::memfd_create("bare", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) die("bench: memfd");
  return fd;
}

}  // namespace

Bare::Bare(std::size_t bytes) : bytes_(bytes) {
  const int own = make_file(bytes), other = make_file(bytes);
  view_ = map_file(own, bytes);
  service_ = map_file(own, bytes);
  source_ = map_file(other, bytes);
  ::close(own);
  ::close(other);
  std::memset(source_, 1, bytes);
  std::memset(service_, 1, bytes);
  uffd_ = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC));
  if (uffd_ < 0) die("bench: userfaultfd");
  uffdio_api api{
      UFFD_API,
      UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM, 0};
  if (::ioctl(uffd_, UFFDIO_API, &api) != 0) die("bench: UFFDIO_API");
  uffdio_register range{{reinterpret_cast<std::uint64_t>(view_), bytes},
                        UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
                        0};
  if (::ioctl(uffd_, UFFDIO_REGISTER, &range) != 0) die("bench: UFFDIO_REGISTER");
}

Bare::~Bare() {
  ::close(uffd_);
  for (std::byte* mapping : {view_, service_, source_}) ::munmap(mapping, bytes_);
}

void Bare::arm(What what) {
  what_ = what;
  armed = this;
  struct sigaction action {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO;
  sigfillset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &before);
}

void Bare::disarm() { ::sigaction(SIGBUS, &before, nullptr); }

void Bare::zap() {
  if (::madvise(view_, bytes_, MADV_DONTNEED) != 0) die("bench: MADV_DONTNEED");
}

void Bare::resolve(std::uintptr_t address, bool store) {
  if (!holds(address)) std::abort();
  const std::size_t page = (address - reinterpret_cast<std::uintptr_t>(view_)) & ~(kPage - 1);
  if (what_ == What::kUnprotect || (what_ == What::kTurn && store)) {
    uffdio_writeprotect range{{reinterpret_cast<std::uint64_t>(view_ + page), kPage}, 0};
    if (::ioctl(uffd_, UFFDIO_WRITEPROTECT, &range) != 0) std::abort();
    return;
  }
  if (what_ == What::kCopyMapRead || what_ == What::kCopyMapWrite) std::memcpy(service_ + page, source_ + page, kPage);
  const std::uint64_t mode = what_ == What::kCopyMapRead || what_ == What::kTurn ? UFFDIO_CONTINUE_MODE_WP : 0;
  uffdio_continue range{{reinterpret_cast<std::uint64_t>(view_ + page), kPage}, mode, 0};
  if (::ioctl(uffd_, UFFDIO_CONTINUE, &range) != 0) std::abort();
}

void Bare::install_for_reading(std::size_t from, std::size_t bytes, bool copy) {
  if (copy) std::memcpy(service_ + from, source_ + from, bytes);
  uffdio_continue range{{reinterpret_cast<std::uint64_t>(view_ + from), bytes}, UFFDIO_CONTINUE_MODE_WP, 0};
  if (::ioctl(uffd_, UFFDIO_CONTINUE, &range) != 0) die("bench: UFFDIO_CONTINUE");
}

}  // namespace dsm::bench
