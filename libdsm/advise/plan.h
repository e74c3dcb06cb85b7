// What a run can do about a profile's allocation sites with no change of source (dsmrun --auto-from): which sites are
// to be served apart, at another node, or spread. Pure code on the profile.
//
// A site is here the return address of the call that allocates, in its module: what the runtime can tell cheaply. A
// program's own wrapper around malloc is one site. Sites in modules without a build id cannot be told in another run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "advise/profile_file.h"
#include "base/result.h"
#include "insight/marks.h"

namespace dsm::advise {

struct PlannedSite {
  insight::SiteMark mark;
  std::uint64_t pages = 0;     // that it is about
  std::uint64_t faults = 0;    // on these
  std::uint64_t fault_ns = 0;  // likewise
};

struct Plan {
  std::vector<PlannedSite> sites;  // the dearest first
  unsigned without_id = 0;         // sites that would be here if their module had a build id

  std::vector<insight::SiteMark> marks() const;
  // How the blocks of these calls would be served; nothing: as ever.
  std::optional<insight::Serving> serving_of(const std::vector<insight::SiteMark>& calls) const;
};

bool is_same_call(const insight::SiteMark& a, const insight::SiteMark& b);

// The place of a call in its module; nothing if it is in none that is known.
std::optional<insight::SiteMark> call_place(const insight::NodePart& part, std::uint64_t call);

Plan plan_of(const ProfileFile& file);
// As text for DSM_SITES, for a job of so many program nodes that run the program in this file. The error is a sentence.
struct Request {
  std::string profile;
  std::string program;  // a script's interpreter checks its own modules when the node starts
  unsigned nodes = 0;
};
tl::expected<std::string, std::string> marks_for(const Request& request);

}  // namespace dsm::advise
