// Says what stands at the addresses of a profile: module and offset from the maps that the nodes have left, file and
// line from the module's debug information by addr2line (binutils), and without that the exported symbol.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "advise/profile_file.h"

namespace dsm::advise {

struct Frame {
  std::string function;  // "" if unknown; "name+0x12" if only a symbol is known
  std::string file;      // "" without debug information
  unsigned line = 0;
  std::string module;        // path
  std::uint64_t offset = 0;  // in the module's file
  bool inlined = false;      // into the next frame

  std::string text() const;   // "file.cpp:12 function", or "module+0x1234 symbol+0x12"
  std::string place() const;  // "file.cpp:12" or "module+0x1234"
};

// Whether code is the runtime's, libc's or the C++ library's: not where a person would add a hint.
bool is_runtime(const Frame& frame);
// The name in a demangled function, without what it returns and takes: "int a::b<c>(d)" -> "a::b<c>".
std::string_view bare_name(std::string_view function);

// Address in a node's process; `after`: a return address, so the call stands before it.
struct Address {
  unsigned node;
  std::uint64_t value;
  bool after;
};

class Symbols {
 public:
  explicit Symbols(const ProfileFile& file);

  void want(const Address& address);
  void resolve();  // all that was wanted; runs addr2line once for each module
  // The function at an address and those that it is inlined into, innermost first. One at the least.
  const std::vector<Frame>& chain(const Address& address) const;
  bool found_addr2line() const { return found_; }

 private:
  struct Mapping {
    std::uint64_t begin, end, offset;
    std::string module;
  };
  using Place = std::pair<std::string, std::uint64_t>;  // module, offset
  Place place_of(const Address& address) const;
  void resolve_module(const std::string& module, const std::set<std::uint64_t>& offsets);

  std::vector<std::vector<Mapping>> maps_;  // by node
  std::set<Place> wanted_;
  std::map<Place, std::vector<Frame>> chains_;
  bool found_ = true;
};

}  // namespace dsm::advise
