#include "tools/preload_library.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "cluster/endings.h"
#include "cluster/unique_fd.h"

namespace dsm::tools {
namespace {

using cluster::Obstacle;

constexpr const char* kLibrary = "libdsm_preload.so";

// In the build tree and where it is installed: ../lib, seen from dsmrun's own folder.
std::string find_library() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  for (const char* folder : {DSM_LIBRARY_FOLDER, "lib"}) {
    const auto candidate = self.parent_path().parent_path() / folder / kLibrary;
    if (std::filesystem::exists(candidate, error)) return candidate;
  }
  return "";
}

template <typename T>
bool read_at(int fd, std::uint64_t offset, T& into) {
  return ::pread(fd, &into, sizeof into, static_cast<off_t>(offset)) == static_cast<ssize_t>(sizeof into);
}

// A 64-bit ELF program that names no loader, so that nobody reads LD_PRELOAD. What cannot be read is left to exec.
bool is_static(int fd) {
  Elf64_Ehdr head{};
  if (!read_at(fd, 0, head) || std::string_view(reinterpret_cast<char*>(head.e_ident), SELFMAG) != ELFMAG) return false;
  if (head.e_ident[EI_CLASS] != ELFCLASS64) return false;
  for (unsigned i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr part{};
    if (!read_at(fd, head.e_phoff + std::uint64_t{i} * head.e_phentsize, part)) return false;
    if (part.p_type == PT_INTERP) return false;
  }
  return true;
}

}  // namespace

tl::expected<std::string, Obstacle> preload_for(const std::string& program) {
  const std::string library = find_library();
  if (library.empty()) {
    return tl::unexpected(
        Obstacle{cluster::kExitUnavailable,
                 fmt::format("{} is not in the lib folder beside dsmrun's; build or install it there", kLibrary)});
  }
  if (library.find_first_of(": ") != std::string::npos) {
    return tl::unexpected(
        Obstacle{cluster::kExitUnavailable,
                 fmt::format("the loader takes no library from a path with a space or colon: {}; move it", library)});
  }
  struct stat status {};
  if (::stat(program.c_str(), &status) == 0 && (status.st_mode & (S_ISUID | S_ISGID)) != 0 && ::geteuid() != 0) {
    return tl::unexpected(
        Obstacle{cluster::kExitCannotExecute,
                 fmt::format("{} is set-user-ID: the loader preloads nothing into it; run a copy", program)});
  }
  const cluster::UniqueFd file(::open(program.c_str(), O_RDONLY | O_CLOEXEC));
  if (file && is_static(file.get())) {
    return tl::unexpected(Obstacle{cluster::kExitCannotExecute,
                                   fmt::format("{} is linked statically: nothing can be preloaded into it", program)});
  }
  const char* const others = std::getenv("LD_PRELOAD");
  const bool alone = others == nullptr || *others == '\0';
  return "LD_PRELOAD=" + (alone ? library : library + ":" + others);
}

}  // namespace dsm::tools
