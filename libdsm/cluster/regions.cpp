#include "cluster/regions.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>

#include "base/meta_layout.h"
#include "base/stats.h"
#include "net/shm_transport.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace dsm::cluster {

namespace {

// What x86-64 gives a process with four page-table levels, and what we leave of it to the program and its libraries.
constexpr std::uint64_t kAddressSpaceEnd = std::uint64_t{1} << 47;
constexpr std::uint64_t kReserve = std::uint64_t{4} << 40;

// A node may be without a launcher, whose options these are.
constexpr const char* kUseSmaller = "use a smaller --slice (DSM_SLICE) or --interleaved (DSM_INTERLEAVED)";

std::string size_text(std::uint64_t bytes) {
  if (bytes >= std::uint64_t{1} << 40) return fmt::format("{:.1f} TiB", static_cast<double>(bytes) / 0x1p40);
  if (bytes >= std::uint64_t{1} << 30) return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / 0x1p30);
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / 0x1p20);
}

Result<UniqueFd> make_memfd(const std::string& name, std::uint64_t bytes) {
  UniqueFd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
  // EINVAL: a kernel before 6.3, which does not know MFD_NOEXEC_SEAL.
  if (!fd && errno == EINVAL) fd.reset(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail(Errc::kNoSupport, "cannot make shared memory (memfd_create)", errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail(Errc::kNoMemory, "cannot give shared memory its size", errno);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail(Errc::kNoSupport, "cannot seal shared memory", errno);
  }
  return fd;
}

// Whether the application view would find its place in a process like this one.
std::string probe_base(const Geometry& geometry) {
  void* wanted = reinterpret_cast<void*>(geometry.base);
  void* got = ::mmap(wanted, geometry.memory_bytes(), PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (got == MAP_FAILED) {
    const int error = errno;
    if (error == EEXIST) {
      return fmt::format(
          "the global range would lie from {:#x} to {:#x}, where a process already has something; choose another "
          "--base (DSM_BASE; the default is {:#x})",
          geometry.base, geometry.base + geometry.memory_bytes(), kDefaultBase);
    }
    return fmt::format("this system refuses {} of address space at {:#x}: {}; {}", size_text(geometry.memory_bytes()),
                       geometry.base, describe({Errc::kNoMemory, error, "mmap"}), kUseSmaller);
  }
  ::munmap(got, geometry.memory_bytes());
  return "";
}

}  // namespace

Geometry geometry_of(const Config& config, unsigned nodes) {
  Geometry geometry;
  geometry.base = static_cast<std::uint64_t>(config.base);
  geometry.slice_bytes = static_cast<std::uint64_t>(config.slice);
  geometry.interleaved_bytes = static_cast<std::uint64_t>(config.interleaved);
  geometry.nodes = nodes;
  geometry.memory_nodes = static_cast<unsigned>(config.memory_nodes);
  return geometry;
}

std::uint64_t meta_file_bytes(const Geometry& geometry) {
  return net::shm_meta_file_bytes(meta_region_bytes(geometry), geometry.nodes);
}

std::uint64_t stats_file_bytes(unsigned nodes) { return nodes * sizeof(NodeStats); }

// The application view, and every node's two regions as the transport maps them. The options' bounds keep it below
// 2^63: 48 slices of 4 TiB, 49 times.
std::uint64_t address_space_needed(const Geometry& geometry) {
  return (geometry.nodes + 1) * geometry.memory_bytes() + geometry.nodes * meta_file_bytes(geometry);
}

bool fits_processor(const Geometry& geometry) {
  return address_space_needed(geometry) <= kAddressSpaceEnd - kReserve &&
         geometry.base + geometry.memory_bytes() <= kAddressSpaceEnd;
}

std::string address_space_complaint(const Geometry& geometry) {
  const std::uint64_t needed = address_space_needed(geometry);
  if (needed > kAddressSpaceEnd - kReserve) {
    return fmt::format(
        "{} nodes with slices of {} and an interleaved region of {} need {} of address space each, more than a process "
        "has; {}, or fewer nodes",
        geometry.nodes, size_text(geometry.slice_bytes), size_text(geometry.interleaved_bytes), size_text(needed),
        kUseSmaller);
  }
  if (!fits_processor(geometry)) {
    return fmt::format(
        "the global range of {} nodes would lie from {:#x} to {:#x}, but a process's addresses end at {:#x}; choose a "
        "lower --base (DSM_BASE; the default is {:#x})",
        geometry.nodes, geometry.base, geometry.base + geometry.memory_bytes(), kAddressSpaceEnd, kDefaultBase);
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur < needed) {
    return fmt::format("the limit on address space is {}, but a node needs {}; raise it (ulimit -v unlimited), or {}",
                       size_text(limit.rlim_cur), size_text(needed), kUseSmaller);
  }
  const std::uint64_t largest = std::max(geometry.memory_bytes(), meta_file_bytes(geometry));
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < largest) {
    return fmt::format(
        "the limit on file size is {}, but shared memory needs files (sparse ones, of no disk) of {}; raise it (ulimit "
        "-f unlimited)",
        size_text(limit.rlim_cur), size_text(largest));
  }
  return probe_base(geometry);
}

std::vector<int> JobMemory::all() const {
  std::vector<int> fds;
  for (const auto* files : {&memory, &meta}) {
    for (const UniqueFd& fd : *files) {
      if (fd) fds.push_back(fd.get());
    }
  }
  fds.push_back(stats.get());
  return fds;
}

Result<JobMemory> make_job_memory(const Geometry& geometry, NodeSet local) {
  JobMemory made;
  made.memory.resize(geometry.nodes);
  made.meta.resize(geometry.nodes);
  for (unsigned node = 0; node < geometry.nodes; ++node) {
    if (!contains(local, static_cast<NodeId>(node))) continue;
    auto memory = make_memfd(fmt::format("dsm-memory-{}-{}", ::getpid(), node), geometry.memory_bytes());
    if (!memory) return tl::unexpected(memory.error());
    made.memory[node] = std::move(*memory);
    auto meta = make_memfd(fmt::format("dsm-meta-{}-{}", ::getpid(), node), meta_file_bytes(geometry));
    if (!meta) return tl::unexpected(meta.error());
    made.meta[node] = std::move(*meta);
  }
  auto stats = make_memfd(fmt::format("dsm-stats-{}", ::getpid()), stats_file_bytes(geometry.nodes));
  if (!stats) return tl::unexpected(stats.error());
  made.stats = std::move(*stats);
  // Its pages are used from the first moment on: a memory limit that has no room for them shows here.
  if (::fallocate(made.stats.get(), 0, 0, static_cast<off_t>(stats_file_bytes(geometry.nodes))) != 0) {
    return fail(Errc::kNoMemory, "no memory for the counters", errno);
  }
  return made;
}

}  // namespace dsm::cluster
