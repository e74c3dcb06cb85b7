#include "advise/elf_file.h"

#include <cxxabi.h>
#include <elf.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>

namespace dsm::advise {
namespace {

template <typename T>
bool read_at(const std::vector<char>& file, std::uint64_t offset, T& into) {
  if (offset > file.size() || file.size() - offset < sizeof into) return false;
  std::memcpy(&into, file.data() + offset, sizeof into);
  return true;
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : name;
}

// The text at `offset`, which must end within the file.
const char* text_at(const std::vector<char>& file, std::uint64_t offset) {
  if (offset >= file.size()) return "";
  const bool ends = std::memchr(file.data() + offset, 0, file.size() - offset) != nullptr;
  return ends ? file.data() + offset : "";
}

}  // namespace

ElfFile::ElfFile(const std::string& name) {
  std::ifstream stream(name, std::ios::binary);
  const std::vector<char> file{std::istreambuf_iterator<char>(stream), {}};
  Elf64_Ehdr head{};
  if (!read_at(file, 0, head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return;
  if (head.e_ident[EI_CLASS] != ELFCLASS64) return;
  for (unsigned i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr part{};
    if (!read_at(file, head.e_phoff + std::uint64_t{i} * sizeof part, part)) return;
    if (part.p_type == PT_LOAD) parts_.push_back({part.p_offset, part.p_filesz, part.p_vaddr});
  }
  read_symbols(file);
}

void ElfFile::read_symbols(const std::vector<char>& file) {
  Elf64_Ehdr head{};
  read_at(file, 0, head);
  for (unsigned i = 0; i < head.e_shnum; ++i) {
    Elf64_Shdr table{}, names{};
    if (!read_at(file, head.e_shoff + std::uint64_t{i} * sizeof table, table)) return;
    if (table.sh_type != SHT_DYNSYM && table.sh_type != SHT_SYMTAB) continue;
    if (!read_at(file, head.e_shoff + std::uint64_t{table.sh_link} * sizeof names, names)) continue;
    for (std::uint64_t at = 0; at + sizeof(Elf64_Sym) <= table.sh_size; at += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol{};
      if (!read_at(file, table.sh_offset + at, symbol)) break;
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
      symbols_.push_back({symbol.st_value, symbol.st_size, text_at(file, names.sh_offset + symbol.st_name)});
    }
  }
  std::stable_sort(symbols_.begin(), symbols_.end(),
                   [](const auto& a, const auto& b) { return a.address < b.address; });
}

std::uint64_t ElfFile::address_of_offset(std::uint64_t offset) const {
  for (const Part& part : parts_) {
    if (offset - part.offset < part.bytes) return offset - part.offset + part.address;
  }
  return offset;
}

std::string ElfFile::symbol_at(std::uint64_t address) const {
  auto found = std::upper_bound(symbols_.begin(), symbols_.end(), address,
                                [](std::uint64_t value, const Symbol& symbol) { return value < symbol.address; });
  if (found == symbols_.begin()) return "";
  --found;
  if (address - found->address >= std::max<std::uint64_t>(found->bytes, 1)) return "";
  return fmt::format("{}+{:#x}", demangled(found->name.c_str()), address - found->address);
}

}  // namespace dsm::advise
