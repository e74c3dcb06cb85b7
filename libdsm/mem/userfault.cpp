#include "mem/userfault.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace dsm::mem {
namespace {

struct Feature {
  std::uint64_t bit;
  const char* in_words;
};

// EVENT_REMAP: without it a registered mapping loses its registration when it is moved into place.
constexpr Feature kFeatures[] = {
    {UFFD_FEATURE_PAGEFAULT_FLAG_WP, "write protection (Linux 5.7)"},
    {UFFD_FEATURE_EVENT_REMAP, "moving a registered mapping (Linux 4.11)"},
    {UFFD_FEATURE_MISSING_SHMEM, "missing faults in shared memory (Linux 4.11)"},
    {UFFD_FEATURE_MINOR_SHMEM, "minor faults in shared memory (Linux 5.14)"},
    {UFFD_FEATURE_EXACT_ADDRESS, "exact fault addresses (Linux 5.18)"},
    {UFFD_FEATURE_WP_HUGETLBFS_SHMEM, "write protection of shared memory (Linux 5.19)"},
};
constexpr Feature kSignalFeature = {UFFD_FEATURE_SIGBUS, "faults as SIGBUS (Linux 4.14)"};
constexpr Feature kMessageFeature = {UFFD_FEATURE_THREAD_ID, "thread ids in fault messages (Linux 4.14)"};

const Feature& feature_of(FaultRoute route) { return route == FaultRoute::kSignal ? kSignalFeature : kMessageFeature; }

struct Opened {
  int fd;
  bool user_mode_only;
};

// fd -1 and errno of the last attempt if all three ways are closed.
Opened open_any() {
  constexpr int kFlags = O_CLOEXEC | O_NONBLOCK;
  int fd = static_cast<int>(syscall(SYS_userfaultfd, kFlags));
  if (fd >= 0) return {fd, false};
  if (errno == ENOSYS) return {-1, false};
  if (const int device = ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC); device >= 0) {
    fd = ioctl(device, USERFAULTFD_IOC_NEW, kFlags);
    close(device);
    if (fd >= 0) return {fd, false};
  }
  fd = static_cast<int>(syscall(SYS_userfaultfd, kFlags | UFFD_USER_MODE_ONLY));
  return {fd, true};
}

int make_request(int fd, unsigned long request, void* argument) {
  return ioctl(fd, request, argument) == 0 ? 0 : errno;
}

int agree(int fd, std::uint64_t wanted, std::uint64_t* offered) {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = wanted;
  const int error = make_request(fd, UFFDIO_API, &api);
  if (offered != nullptr) *offered = api.features;
  return error;
}

std::uint64_t wanted_features(FaultRoute route) {
  std::uint64_t bits = feature_of(route).bit;
  for (const Feature& feature : kFeatures) bits |= feature.bit;
  return bits;
}

std::string why_not_opened(int error) {
  switch (error) {
    case ENOSYS:
      return "this kernel was built without userfaultfd";
    case EPERM:
      return "userfaultfd is forbidden here even for a program's own faults, as a container's seccomp filter does "
             "(Docker's default profile, for one)";
    default:
      return fmt::format("userfaultfd cannot be opened: {}", strerrordesc_np(error));
  }
}

// The features say nothing about this one, so it is tried out on a page.
bool continues_write_protected(const Userfault& userfault) {
  const int memory = memfd_create("dsm-probe", MFD_CLOEXEC);
  if (memory < 0 || ftruncate(memory, kPageBytes) != 0 || pwrite(memory, "x", 1, 0) != 1) return false;
  void* page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  close(memory);
  if (page == MAP_FAILED) return false;
  const auto address = reinterpret_cast<std::uintptr_t>(page);
  const bool works = userfault.register_shared(address, kPageBytes) == 0 &&
                     userfault.resume(address, kPageBytes, Access::kRead).error == 0;
  munmap(page, kPageBytes);
  return works;
}

}  // namespace

Result<Userfault> Userfault::open(FaultRoute route) {
  const Opened opened = open_any();
  if (opened.fd < 0) return fail(Errc::kNoSupport, "cannot open a userfaultfd", errno);
  Userfault userfault(opened.fd, opened.user_mode_only);
  const int error = agree(opened.fd, wanted_features(route), nullptr);
  if (error != 0) return fail(Errc::kNoSupport, "this kernel's userfaultfd lacks features", error);
  return userfault;
}

std::string Userfault::obstacle(FaultRoute route) {
  const Opened opened = open_any();
  if (opened.fd < 0) return why_not_opened(errno);
  std::uint64_t offered = 0;
  const int error = agree(opened.fd, 0, &offered);  // a descriptor agrees once: this one is only for asking
  close(opened.fd);
  if (error != 0) return fmt::format("userfaultfd refuses to tell its features: {}", strerrordesc_np(error));
  const auto lacks = [offered](const Feature& feature) { return (offered & feature.bit) == 0; };
  for (const Feature& feature : kFeatures) {
    if (lacks(feature)) return fmt::format("this kernel's userfaultfd lacks {}", feature.in_words);
  }
  if (lacks(feature_of(route))) return fmt::format("this kernel's userfaultfd lacks {}", feature_of(route).in_words);
  auto userfault = open(route);
  if (!userfault) return describe(userfault.error());
  if (!continues_write_protected(*userfault)) {
    return "this kernel's userfaultfd cannot map a page write-protected (Linux 6.4)";
  }
  return "";
}

Userfault::Userfault(Userfault&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), user_mode_only_(other.user_mode_only_) {}

Userfault::~Userfault() {
  if (fd_ >= 0) close(fd_);
}

int Userfault::register_shared(std::uintptr_t address, std::size_t bytes) const {
  uffdio_register request{};
  request.range = {address, bytes};
  request.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;
  return make_request(fd_, UFFDIO_REGISTER, &request);
}

int Userfault::register_private(std::uintptr_t address, std::size_t bytes) const {
  uffdio_register request{};
  request.range = {address, bytes};
  request.mode = UFFDIO_REGISTER_MODE_MISSING;
  return make_request(fd_, UFFDIO_REGISTER, &request);
}

int Userfault::unregister(std::uintptr_t address, std::size_t bytes) const {
  uffdio_range range{address, bytes};
  return make_request(fd_, UFFDIO_UNREGISTER, &range);
}

Userfault::Progress Userfault::resume(std::uintptr_t address, std::size_t bytes, Access access) const {
  uffdio_continue request{};
  request.range = {address, bytes};
  request.mode = access == Access::kWrite ? 0 : UFFDIO_CONTINUE_MODE_WP;
  const int error = make_request(fd_, UFFDIO_CONTINUE, &request);
  if (error == 0) return {bytes, 0};
  return {request.mapped > 0 ? static_cast<std::size_t>(request.mapped) : 0, error};  // negative: the error again
}

Userfault::Progress Userfault::copy(std::uintptr_t address, std::size_t bytes, const std::byte* from,
                                    Access access) const {
  uffdio_copy request{};
  request.dst = address;
  request.src = reinterpret_cast<std::uintptr_t>(from);
  request.len = bytes;
  request.mode = access == Access::kWrite ? 0 : UFFDIO_COPY_MODE_WP;
  const int error = make_request(fd_, UFFDIO_COPY, &request);
  if (error == 0) return {bytes, 0};
  return {request.copy > 0 ? static_cast<std::size_t>(request.copy) : 0, error};  // negative: the error again
}

int Userfault::write_protect(std::uintptr_t address, std::size_t bytes, bool on) const {
  uffdio_writeprotect request{};
  request.range = {address, bytes};
  request.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
  return make_request(fd_, UFFDIO_WRITEPROTECT, &request);
}

int Userfault::wake(std::uintptr_t address, std::size_t bytes) const {
  uffdio_range range{address, bytes};
  return make_request(fd_, UFFDIO_WAKE, &range);
}

std::span<uffd_msg> Userfault::read(std::span<uffd_msg> into) const {
  const ssize_t got = ::read(fd_, into.data(), into.size_bytes());
  if (got < 0) {
    DSM_CHECK(errno == EAGAIN || errno == EINTR, "reading the userfaultfd: errno {}", errno);
    return {};
  }
  return into.first(static_cast<std::size_t>(got) / sizeof(uffd_msg));
}

}  // namespace dsm::mem
