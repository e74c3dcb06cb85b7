// The program and the shared libraries of this process, and the build id by which each is known to be the same code in
// another run, at whatever address. Not in signal context.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dsm {

// The linker's (a note, NT_GNU_BUILD_ID), in hexadecimal digits; "" if the module was linked without.
using BuildId = std::string;
inline constexpr std::size_t kMostBuildIdDigits = 40;

struct Module {
  std::string name;          // as the loader knows it; "" is the program itself
  std::uint64_t begin, end;  // of all that is mapped of it
  std::uint64_t bias;        // address in memory less address in the file
  BuildId id;
};

std::vector<Module> loaded_modules();  // the program first
// Of an ELF file; "" also if it is none, or cannot be read.
BuildId build_id_of_file(const std::string& path);
// In a segment of notes.
BuildId build_id_in(std::span<const std::byte> notes);

}  // namespace dsm
