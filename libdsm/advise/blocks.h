// Which allocation an address is in: the blocks of all nodes, each with the site that allocated it. Sites of different
// nodes are one if the program's own frames are the same.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "advise/plan.h"
#include "advise/profile_file.h"
#include "advise/symbols.h"

namespace dsm::advise {

struct Site {
  std::vector<Frame> frames;             // the program's own
  std::uint64_t blocks = 0;              // as far as known from those that were recorded
  std::uint64_t bytes = 0;               // of all these together
  std::vector<insight::SiteMark> calls;  // in which modules, at which offsets
};

class BlockMap {
 public:
  explicit BlockMap(const ProfileFile& file) : file_(file) {}
  void want(Symbols& symbols) const;  // before symbols.resolve()
  void build(const Symbols& symbols);

  std::optional<std::size_t> site_at(std::uint64_t address) const;
  // Of any block that overlaps a page: small blocks are recorded by sample, and neighbours are often alike.
  std::optional<std::size_t> site_near(std::uint64_t page_begin) const;
  const std::vector<Site>& sites() const { return sites_; }

 private:
  struct Block {
    std::uint64_t begin, end;
    std::size_t site;
  };
  std::size_t site_of(unsigned node, const insight::SiteRecord& record, const Symbols& symbols);

  const ProfileFile& file_;
  std::vector<Site> sites_;
  std::map<std::string, std::size_t> by_frames_;
  std::vector<Block> blocks_;  // by begin; later allocations behind earlier ones
};

// The program's own frames of a stack, the callers' behind those of the functions that they call.
std::vector<Frame> own_frames(const Symbols& symbols, unsigned node, const std::uint64_t* stack, std::size_t depth,
                              bool first_is_access);

}  // namespace dsm::advise
