#include "advise/symbols.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "advise/elf_file.h"

extern char** environ;

namespace dsm::advise {
namespace {

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// What `program` writes to its standard output when it reads `input`; "" if it cannot be run.
std::string output_of(const std::vector<std::string>& words, const std::string& input) {
  std::FILE* const in = std::tmpfile();
  std::FILE* const out = std::tmpfile();
  std::string text;
  if (in != nullptr && out != nullptr) {
    std::fwrite(input.data(), 1, input.size(), in);
    std::rewind(in);
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ::fileno(in), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ::fileno(out), STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t child = 0;
    if (posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ) == 0) {
      ::waitpid(child, nullptr, 0);
      std::rewind(out);
      char part[4096];
      for (std::size_t got = 0; (got = std::fread(part, 1, sizeof part, out)) != 0;) text.append(part, got);
    }
    posix_spawn_file_actions_destroy(&actions);
  }
  if (in != nullptr) std::fclose(in);
  if (out != nullptr) std::fclose(out);
  return text;
}

bool is_address(const std::string& line) { return line.starts_with("0x"); }

// "/a/b.cpp:12 (discriminator 3)" into file and line; "??:0" is nothing.
void read_line(const std::string& text, Frame& frame) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || text.starts_with("??")) return;
  frame.file = std::filesystem::path(text.substr(0, colon)).lexically_normal().string();
  std::from_chars(text.data() + colon + 1, text.data() + text.size(), frame.line);
}

// Of addr2line -a -f -i: an address, then two lines for each function, the innermost first.
std::map<std::uint64_t, std::vector<Frame>> read_chains(const std::string& text) {
  std::map<std::uint64_t, std::vector<Frame>> chains;
  std::istringstream lines(text);
  std::string line, place;
  std::vector<Frame>* chain = nullptr;
  while (std::getline(lines, line)) {
    if (is_address(line)) {
      std::uint64_t address = 0;
      std::from_chars(line.data() + 2, line.data() + line.size(), address, 16);
      chain = &chains[address];
      chain->clear();
    } else if (chain != nullptr && std::getline(lines, place)) {
      if (!chain->empty()) chain->back().inlined = true;
      Frame frame;
      if (line != "??") frame.function = line;
      read_line(place, frame);
      chain->push_back(std::move(frame));
    }
  }
  return chains;
}

}  // namespace

std::string Frame::place() const {
  return file.empty() ? fmt::format("{}+{:#x}", base_name(module), offset) : fmt::format("{}:{}", file, line);
}

std::string Frame::text() const {
  return function.empty() ? place() : fmt::format("{} {}", place(), bare_name(function));
}

std::string_view bare_name(std::string_view function) {
  int angle = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < function.size(); ++i) {
    constexpr std::string_view kAnonymous = "(anonymous namespace)";
    if (function.substr(i).starts_with(kAnonymous)) {
      i += kAnonymous.size() - 1;
      continue;
    }
    constexpr std::string_view kOperator = "operator";
    if (function.substr(i).starts_with(kOperator)) {  // its signs are no brackets
      const std::size_t end = function.find('(', i + kOperator.size() + 1);
      return function.substr(begin, end - begin);
    }
    if (function[i] == '<') ++angle;
    if (function[i] == '>') --angle;
    if (angle != 0) continue;
    if (function[i] == ' ') begin = i + 1;
    if (function[i] == '(') return function.substr(begin, i - begin);
  }
  return function.substr(begin);
}

bool is_runtime(const Frame& frame) {
  const std::string module = base_name(frame.module);
  for (const std::string_view library :
       {"libdsm", "libc.so", "libstdc++", "libgcc_s", "libpthread", "ld-linux", "[vdso]"}) {
    if (module.starts_with(library)) return true;
  }
  for (const std::string_view folder : {"/usr/include/", "/usr/lib/", "/include/c++/"}) {
    if (frame.file.find(folder) != std::string::npos) return true;
  }
  const std::string_view name = bare_name(frame.function);
  for (const std::string_view space : {"dsm::", "dsm_", "std::", "__gnu_cxx::", "operator new"}) {
    if (name.starts_with(space)) return true;
  }
  return false;
}

// Lines "55d0...-55d1... r-xp 00001000 08:01 1234   /path". Both snapshots of a process give the same.
Symbols::Symbols(const ProfileFile& file) : maps_(file.nodes()) {
  for (unsigned node = 0; node < file.nodes(); ++node) {
    const insight::NodePart& part = file.part(node);
    std::istringstream lines(std::string(part.maps, std::min<std::size_t>(part.maps_bytes.load(), sizeof part.maps)));
    for (std::string line; std::getline(lines, line);) {
      Mapping mapping;
      unsigned long begin = 0, end = 0, offset = 0;
      int path = 0;
      if (std::sscanf(line.c_str(), "%lx-%lx %*4s %lx %*s %*s %n", &begin, &end, &offset, &path) < 3) continue;
      if (path == 0 || static_cast<std::size_t>(path) >= line.size()) continue;
      maps_[node].push_back({begin, end, offset, line.substr(static_cast<std::size_t>(path))});
    }
  }
}

Symbols::Place Symbols::place_of(const Address& address) const {
  const std::uint64_t value = address.value - (address.after ? 1 : 0);
  for (const Mapping& mapping : maps_[address.node]) {
    if (value >= mapping.begin && value < mapping.end) return {mapping.module, value - mapping.begin + mapping.offset};
  }
  return {"?", value};
}

void Symbols::want(const Address& address) { wanted_.insert(place_of(address)); }

void Symbols::resolve() {
  std::map<std::string, std::set<std::uint64_t>> by_module;
  for (const auto& [module, offset] : wanted_) by_module[module].insert(offset);
  for (const auto& [module, offsets] : by_module) resolve_module(module, offsets);
}

void Symbols::resolve_module(const std::string& module, const std::set<std::uint64_t>& offsets) {
  const ElfFile elf(module);
  std::string asked;
  for (const std::uint64_t offset : offsets) asked += fmt::format("{:#x}\n", elf.address_of_offset(offset));
  const std::string answer = output_of({"addr2line", "-a", "-f", "-i", "-C", "-e", module}, asked);
  if (answer.empty() && module.starts_with('/')) found_ = false;
  auto chains = read_chains(answer);
  for (const std::uint64_t offset : offsets) {
    const std::uint64_t address = elf.address_of_offset(offset);
    std::vector<Frame> chain = chains[address];
    if (chain.empty()) chain.emplace_back();
    if (chain.front().file.empty()) {
      chain.resize(1);
      chain.front().function = elf.symbol_at(address);
    }
    for (Frame& frame : chain) {
      frame.module = module;
      frame.offset = offset;
    }
    chains_[{module, offset}] = std::move(chain);
  }
}

const std::vector<Frame>& Symbols::chain(const Address& address) const { return chains_.at(place_of(address)); }

}  // namespace dsm::advise
