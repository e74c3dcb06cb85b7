#include "base/modules.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace dsm {
namespace {

constexpr std::size_t kMostNotes = 1 << 16;

constexpr std::size_t padded(std::size_t bytes) { return (bytes + 3) & ~std::size_t{3}; }

int add_module(dl_phdr_info* info, std::size_t, void* argument) {
  Module module{info->dlpi_name == nullptr ? "" : info->dlpi_name, UINT64_MAX, 0, info->dlpi_addr, ""};
  for (unsigned i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = info->dlpi_phdr[i];
    const std::uint64_t begin = info->dlpi_addr + part.p_vaddr;
    if (part.p_type == PT_LOAD) {
      module.begin = std::min(module.begin, begin);
      module.end = std::max(module.end, begin + part.p_memsz);
    } else if (part.p_type == PT_NOTE && module.id.empty()) {
      module.id = build_id_in({reinterpret_cast<const std::byte*>(begin), part.p_memsz});
    }
  }
  if (module.end != 0) static_cast<std::vector<Module>*>(argument)->push_back(std::move(module));
  return 0;
}

template <typename T>
bool read_at(int fd, std::uint64_t offset, T* into, std::size_t count = 1) {
  const std::size_t bytes = count * sizeof(T);
  return ::pread(fd, into, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
}

BuildId read_build_id(int fd) {
  Elf64_Ehdr head{};
  if (!read_at(fd, 0, &head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return "";
  for (unsigned i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr part{};
    if (!read_at(fd, head.e_phoff + std::uint64_t{i} * sizeof part, &part)) return "";
    if (part.p_type != PT_NOTE || part.p_filesz > kMostNotes) continue;
    std::vector<std::byte> notes(part.p_filesz);
    if (!read_at(fd, part.p_offset, notes.data(), notes.size())) return "";
    if (BuildId id = build_id_in(notes); !id.empty()) return id;
  }
  return "";
}

}  // namespace

BuildId build_id_in(std::span<const std::byte> notes) {
  Elf64_Nhdr note{};
  while (notes.size() >= sizeof note) {
    std::memcpy(&note, notes.data(), sizeof note);
    const std::size_t value = sizeof note + padded(note.n_namesz);
    if (value > notes.size() || note.n_descsz > notes.size() - value) return "";
    const bool is_gnu = note.n_namesz == sizeof ELF_NOTE_GNU &&
                        std::memcmp(notes.data() + sizeof note, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0;
    if (is_gnu && note.n_type == NT_GNU_BUILD_ID) {
      BuildId id;
      const std::size_t bytes = std::min<std::size_t>(note.n_descsz, kMostBuildIdDigits / 2);
      for (const std::byte byte : notes.subspan(value, bytes)) id += fmt::format("{:02x}", std::to_integer<int>(byte));
      return id;
    }
    notes = notes.subspan(std::min(value + padded(note.n_descsz), notes.size()));
  }
  return "";
}

std::vector<Module> loaded_modules() {
  std::vector<Module> modules;
  ::dl_iterate_phdr(add_module, &modules);
  return modules;
}

BuildId build_id_of_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  BuildId id = read_build_id(fd);
  ::close(fd);
  return id;
}

}  // namespace dsm
