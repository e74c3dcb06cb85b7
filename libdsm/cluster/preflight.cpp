#include "cluster/preflight.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "cluster/endings.h"
#include "cluster/regions.h"

namespace dsm::cluster {

namespace {

// dsmrun's own: two memfds, two pipes, two sockets a node, and some. A node's: two memfds a node, while it joins.
rlim_t descriptors_needed(unsigned nodes) { return 6 * rlim_t{nodes} + 64; }

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

// 0 if it can be executed.
int check_executable(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return errno;
  if (S_ISDIR(status.st_mode)) return EISDIR;
  return ::access(path.c_str(), X_OK) == 0 ? 0 : errno;
}

Obstacle not_found(const std::string& name, const char* where) {
  return {kExitNotFound, fmt::format("there is no program {}{}; check the spelling", name, where)};
}

Obstacle not_executable(const std::string& path, int error) {
  if (error == EISDIR) return {kExitCannotExecute, fmt::format("{} is a directory, not a program", path)};
  return {kExitCannotExecute, fmt::format("{} cannot be executed: {}; is it a program, and does 'chmod +x' help?", path,
                                          ::strerror(error))};
}

}  // namespace

tl::expected<std::string, Obstacle> find_program(const std::string& name) {
  if (name.empty()) return tl::unexpected(Obstacle{kExitNotFound, "the program's name is empty"});
  if (name.find('/') != std::string::npos) {
    const int error = check_executable(name);
    if (error == 0) return name;
    if (error == ENOENT || error == ENOTDIR) return tl::unexpected(not_found(name, ""));
    return tl::unexpected(not_executable(name, error));
  }
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "/bin:/usr/bin");
  std::optional<Obstacle> refused;
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    const int error = check_executable(candidate);
    if (error == 0) return candidate;
    // A folder of the PATH that may not be searched says nothing about the program.
    if (error == EACCES && exists(candidate) && !refused) refused = not_executable(candidate, error);
  }
  if (refused) return tl::unexpected(*refused);
  if (check_executable("./" + name) == 0) {
    return tl::unexpected(
        Obstacle{kExitNotFound, fmt::format("there is no program {} on the PATH; did you mean ./{}?", name, name)});
  }
  return tl::unexpected(not_found(name, " on the PATH"));
}

Obstacle exec_obstacle(const std::string& path, int error) {
  switch (error) {
    case ENOENT:
      return {kExitNotFound, fmt::format("{} needs an interpreter or loader that is not there; see its first line, or "
                                         "'file {}'",
                                         path, path)};
    case ENOEXEC:
      return {kExitCannotExecute,
              fmt::format("{} is no program of this machine; a script needs a first line such as #!/bin/sh", path)};
    case E2BIG:
      return {kExitUnavailable, "the program's arguments and environment are too long together; shorten them"};
    case ENOMEM:
    case EAGAIN:
      return obstacle_of({Errc::kNoMemory, error, "cannot execute the program"});
    default:
      return not_executable(path, error);
  }
}

std::optional<Obstacle> find_obstacle(const Geometry& geometry) {
  std::string complaint = address_space_complaint(geometry);
  if (!complaint.empty()) return Obstacle{kExitUnavailable, complaint};
  const rlim_t needed = descriptors_needed(geometry.nodes);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < needed) {
    if (limit.rlim_max < needed) {
      return Obstacle{
          kExitUnavailable,
          fmt::format("{} nodes need {} open files, but the limit is {}; raise it (ulimit -Hn {}) or use fewer "
                      "nodes",
                      geometry.nodes, needed, limit.rlim_max, needed)};
    }
    limit.rlim_cur = needed;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
      return Obstacle{kExitUnavailable,
                      fmt::format("the limit on open files cannot be raised to {}: {}; use ulimit -n {}", needed,
                                  ::strerror(errno), needed)};
    }
  }
  return std::nullopt;
}

std::uint64_t largest_slice(Geometry geometry) {
  while (geometry.slice_bytes > kChunkBytes && !fits_processor(geometry)) geometry.slice_bytes /= 2;
  return geometry.slice_bytes;
}

Obstacle obstacle_of(const Error& error) {
  const std::string text = describe(error);
  switch (error.sys_errno) {
    case EMFILE:
    case ENFILE:
      return {kExitUnavailable, text + "; raise the limit on open files (ulimit -n) or use fewer nodes"};
    case EAGAIN:
      return {kExitUnavailable, text + "; raise the limit on processes (ulimit -u) or use fewer nodes"};
    case ENOMEM:
    case ENOSPC:
    case EFBIG:
      return {kExitUnavailable,
              text + "; free memory, raise the memory limit of this container, or use a smaller --slice"};
    case ENOSYS:
    case EPERM:
    case EACCES:
      return {kExitUnavailable,
              text +
                  "; this system forbids it (a container's seccomp profile, or sysctl vm.memfd_noexec?), and libdsm "
                  "cannot work without"};
    default:
      return {kExitInternal, text};
  }
}

}  // namespace dsm::cluster
