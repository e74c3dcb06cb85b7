#include "net/mapping.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

namespace dsm::net {

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

Result<Mapping> Mapping::map(int fd, std::uint64_t bytes) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return fail(Errc::kSystem, "cannot look at a node's shared memory", errno);
  if (static_cast<std::uint64_t>(status.st_size) < bytes) {
    return fail(Errc::kBadOption, "a node's shared memory is smaller than this node's options say; give all the same");
  }
  return keep(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0), bytes);
}

Result<Mapping> Mapping::map_private(std::uint64_t bytes) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  return keep(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kFlags, -1, 0), bytes);
}

Result<Mapping> Mapping::keep(void* address, std::uint64_t bytes) {
  if (address == MAP_FAILED) {
    return fail(errno == ENOMEM ? Errc::kNoMemory : Errc::kSystem,
                "cannot map the nodes' shared memory; lower DSM_SLICE or DSM_INTERLEAVED, or raise ulimit -v", errno);
  }
  // A core dump would walk terabytes of it. Kernels without this advice make such dumps slow and nothing worse.
  madvise(address, bytes, MADV_DONTDUMP);
  Mapping mapping;
  mapping.data_ = static_cast<std::byte*>(address);
  mapping.bytes_ = bytes;
  return mapping;
}

}  // namespace dsm::net
