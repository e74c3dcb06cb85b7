// What a profile says should be done at an allocation site, as dsmrun hands it to the nodes in DSM_SITES: the place of
// the call in its module, which is the same in every run of the same build, and how to serve it.
//
//   apart:<offset>:<build id>:<module> node<n>:<offset>:<build id>:<module> spread:...        (numbers in hexadecimal)
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/modules.h"
#include "base/types.h"

namespace dsm::insight {

enum class Serve : std::uint8_t {
  kApart,   // each block on pages of its own
  kNode,    // at the node that uses it
  kSpread,  // over all nodes
};

struct Serving {
  Serve how = Serve::kApart;
  NodeId node = 0;  // kNode only
};

struct SiteMark {
  std::uint64_t offset = 0;  // return address less the module's bias
  BuildId id;
  std::string module;  // its file without folders, for people and to tell another build
  Serving serving;
};

inline constexpr std::size_t kMostMarks = 512;

std::string to_text(std::span<const SiteMark> marks);
std::optional<std::vector<SiteMark>> parse_marks(std::string_view text);
// "/usr/lib/libx.so" -> "libx.so", without what would end a mark.
std::string module_name(std::string_view path);

}  // namespace dsm::insight
