#include "advise/blocks.h"

#include <algorithm>

namespace dsm::advise {
namespace {

constexpr std::size_t kLookBack = 16;  // blocks that began before and are gone

std::size_t depth_of(const insight::SiteRecord& site) { return std::min<std::size_t>(site.depth, insight::kDepth); }

}  // namespace

std::vector<Frame> own_frames(const Symbols& symbols, unsigned node, const std::uint64_t* stack, std::size_t depth,
                              bool first_is_access) {
  std::vector<Frame> frames;
  for (std::size_t i = 0; i < depth; ++i) {
    for (const Frame& frame : symbols.chain({node, stack[i], !first_is_access || i != 0})) {
      if (!is_runtime(frame)) frames.push_back(frame);
    }
  }
  return frames;
}

void BlockMap::want(Symbols& symbols) const {
  for (unsigned node = 0; node < file_.nodes(); ++node) {
    for (const insight::SiteRecord& site : file_.part(node).site) {
      for (std::size_t i = 0; i < depth_of(site); ++i) symbols.want({node, site.stack[i], true});
    }
  }
}

std::size_t BlockMap::site_of(unsigned node, const insight::SiteRecord& record, const Symbols& symbols) {
  Site site;
  site.frames = own_frames(symbols, node, record.stack, depth_of(record), false);
  std::string key;
  for (const Frame& frame : site.frames) key += frame.module + frame.place() + '\n';
  const auto [found, fresh] = by_frames_.emplace(key, sites_.size());
  if (fresh) sites_.push_back(std::move(site));
  if (auto call = call_place(file_.part(node), record.call)) {
    std::vector<insight::SiteMark>& calls = sites_[found->second].calls;
    const bool known = std::ranges::any_of(calls, [&](const auto& one) { return is_same_call(one, *call); });
    if (!known) calls.push_back(std::move(*call));
  }
  return found->second;
}

void BlockMap::build(const Symbols& symbols) {
  for (unsigned node = 0; node < file_.nodes(); ++node) {
    const insight::NodePart& part = file_.part(node);
    std::map<std::uint32_t, std::size_t> known;
    const std::size_t count = std::min<std::size_t>(part.blocks.load(), insight::kBlocks);
    for (std::size_t i = 0; i < count; ++i) {
      const insight::BlockRecord& block = part.block[i];
      if (block.site == 0 || block.site > insight::kSites || block.bytes == 0) continue;
      auto found = known.find(block.site);
      if (found == known.end()) {
        found = known.emplace(block.site, site_of(node, part.site[block.site - 1], symbols)).first;
      }
      blocks_.push_back({block.begin, block.begin + block.bytes, found->second});
      sites_[found->second].blocks += block.weight;
      sites_[found->second].bytes += block.weight * block.bytes;
    }
  }
  std::stable_sort(blocks_.begin(), blocks_.end(), [](const Block& a, const Block& b) { return a.begin < b.begin; });
}

std::optional<std::size_t> BlockMap::site_at(std::uint64_t address) const {
  auto behind = std::upper_bound(blocks_.begin(), blocks_.end(), address,
                                 [](std::uint64_t value, const Block& block) { return value < block.begin; });
  for (std::size_t i = 0; i < kLookBack && behind != blocks_.begin(); ++i) {
    --behind;
    if (address < behind->end) return behind->site;
  }
  return std::nullopt;
}

std::optional<std::size_t> BlockMap::site_near(std::uint64_t page_begin) const {
  if (const auto here = site_at(page_begin)) return here;
  const auto next = std::lower_bound(blocks_.begin(), blocks_.end(), page_begin,
                                     [](const Block& block, std::uint64_t value) { return block.begin < value; });
  if (next != blocks_.end() && next->begin < page_begin + kPageBytes) return next->site;
  return std::nullopt;
}

}  // namespace dsm::advise
