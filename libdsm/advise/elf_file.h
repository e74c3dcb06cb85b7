// What dsm-advise wants of a program's or library's file without debug information: where its parts are loaded, and
// the symbols it exports.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dsm::advise {

class ElfFile {
 public:
  // A file that cannot be read, or is no 64-bit ELF file, has no parts and no symbols.
  explicit ElfFile(const std::string& name);

  // The address, as the file counts, of what stands at `offset` in it.
  std::uint64_t address_of_offset(std::uint64_t offset) const;
  // "function+0x12" if an exported function (or any, if the file has its symbol table) has the address; else "".
  std::string symbol_at(std::uint64_t address) const;

 private:
  struct Part {
    std::uint64_t offset, bytes, address;
  };
  struct Symbol {
    std::uint64_t address, bytes;
    std::string name;
  };
  void read_symbols(const std::vector<char>& file);

  std::vector<Part> parts_;
  std::vector<Symbol> symbols_;  // by address
};

}  // namespace dsm::advise
