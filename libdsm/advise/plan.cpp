#include "advise/plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <set>
#include <tuple>

#include "base/modules.h"

namespace dsm::advise {
namespace {

using insight::Serve;
using insight::SiteMark;

constexpr std::uint64_t kFewFaults = 16;  // a site with fewer is left alone
constexpr std::size_t kLookBack = 16;     // blocks that began before and may reach into the page
constexpr double kMostly = 0.8;           // of a site's faults, for one node to be its user
constexpr double kEvenly = 2;  // a node's share at the most so many times the even one, and at the least its inverse

using Key = std::tuple<std::string, std::uint64_t, std::string>;  // build id, offset, module

struct Block {
  std::uint64_t begin, end;
  std::size_t site;
};

// What the pages of a site's blocks were used for.
struct Use {
  SiteMark mark;
  std::uint64_t blocks = 0, bytes = 0;
  std::uint64_t faults = 0, fault_ns = 0, pages = 0;
  std::uint64_t parted_ns = 0, parted_faults = 0, parted_pages = 0;  // that blocks of their own pages would not share
  std::uint64_t homes = 0;                                           // nodes whose memory they are, one bit each
  std::array<std::uint64_t, kMaxNodes> faults_of{};
  std::array<std::uint64_t, kMaxNodes> owned_faults_of{};  // on pages that this node writes and its home leaves alone
};

class Planner {
 public:
  explicit Planner(const ProfileFile& file) : file_(file), geometry_(file.geometry()) {}
  Plan run();

 private:
  void take_blocks(unsigned node);
  void take_page(const PageUse& page);
  std::vector<Block> blocks_on(PageId page) const;
  bool serves(Use& use) const;
  bool is_one_nodes(Use& use) const;
  bool is_everybodys(const Use& use) const;

  const ProfileFile& file_;
  const Geometry geometry_;
  std::map<Key, std::size_t> numbers_;
  std::vector<Use> uses_;
  std::vector<Block> blocks_;  // by begin
};

void Planner::take_blocks(unsigned node) {
  const insight::NodePart& part = file_.part(node);
  std::map<std::uint32_t, std::optional<std::size_t>> known;
  const std::size_t count = std::min<std::size_t>(part.blocks.load(), insight::kBlocks);
  for (std::size_t i = 0; i < count; ++i) {
    const insight::BlockRecord& block = part.block[i];
    if (block.site == 0 || block.site > insight::kSites || block.bytes == 0) continue;
    const auto [found, fresh] = known.try_emplace(block.site);
    if (fresh) {
      if (const auto mark = call_place(part, part.site[block.site - 1].call)) {
        const auto [number, first] = numbers_.try_emplace({mark->id, mark->offset, mark->module}, uses_.size());
        if (first) uses_.push_back({.mark = *mark});
        found->second = number->second;
      }
    }
    if (!found->second) continue;
    uses_[*found->second].blocks += block.weight;
    uses_[*found->second].bytes += block.weight * block.bytes;
    blocks_.push_back({block.begin, block.begin + block.bytes, *found->second});
  }
}

std::vector<Block> Planner::blocks_on(PageId page) const {
  const std::uint64_t begin = geometry_.address_of(page);
  std::vector<Block> found;
  auto behind = std::lower_bound(blocks_.begin(), blocks_.end(), begin + kPageBytes,
                                 [](const Block& block, std::uint64_t value) { return block.begin < value; });
  for (std::size_t before = 0; behind != blocks_.begin() && before < kLookBack;) {
    --behind;
    if (behind->begin < begin) ++before;
    if (behind->end > begin) found.push_back(*behind);
  }
  return found;
}

// The granules of a page that the block lies in.
std::uint64_t granules_of(const Block& block, std::uint64_t page_begin) {
  constexpr std::uint64_t kGranule = kPageBytes / 64;
  const std::uint64_t begin = std::max(block.begin, page_begin) - page_begin;
  const std::uint64_t end = std::min(block.end, page_begin + kPageBytes) - page_begin;
  const std::uint64_t up_to_end =
      end > kPageBytes - kGranule ? ~std::uint64_t{0} : (std::uint64_t{2} << (end - 1) / kGranule) - 1;
  return up_to_end & ~((std::uint64_t{1} << begin / kGranule) - 1);
}

// All that is touched of the page lies in this block: no allocation can part it.
bool covers(const Block& block, std::uint64_t page_begin, std::uint64_t granules) {
  return (granules & ~granules_of(block, page_begin)) == 0;
}

void Planner::take_page(const PageUse& page) {
  const std::vector<Block> here = blocks_on(page.page);
  if (here.empty()) return;
  const NodeId home = geometry_.home(page.page);
  const std::uint64_t begin = geometry_.address_of(page.page);
  std::uint64_t granules = 0;
  bool home_faults = false;
  for (const NodeUse& use : page.nodes) {
    granules |= use.granules_read | use.granules_written;
    home_faults |= use.node == home && use.faults() != 0;
  }
  const bool parted =
      granules != 0 && classify(page) == Pattern::kFalseSharing &&
      std::none_of(here.begin(), here.end(), [&](const Block& block) { return covers(block, begin, granules); });
  std::set<std::size_t> sites;  // whose blocks were touched
  for (const Block& block : here) {
    if ((granules & granules_of(block, begin)) != 0) sites.insert(block.site);
  }
  for (const std::size_t site : sites) {
    Use& sum = uses_[site];
    ++sum.pages;
    sum.faults += page.faults();
    sum.fault_ns += page.fault_ns();
    if (!geometry_.interleaved(page.page)) sum.homes |= node_bit(home);
    if (parted) {
      ++sum.parted_pages;
      sum.parted_faults += page.faults();
      sum.parted_ns += page.fault_ns();
    }
    for (const NodeUse& use : page.nodes) {
      sum.faults_of[use.node] += use.faults();
      if (use.writes != 0 && !home_faults && page.nodes.size() == 1) sum.owned_faults_of[use.node] += use.faults();
    }
  }
}

// The home of all its pages never faults on them, one other node does and writes them: it has them for itself.
bool Planner::is_one_nodes(Use& use) const {
  const auto most = std::max_element(use.owned_faults_of.begin(), use.owned_faults_of.end());
  const auto node = static_cast<NodeId>(most - use.owned_faults_of.begin());
  if (static_cast<double>(*most) < kMostly * static_cast<double>(use.faults) || use.homes == node_bit(node))
    return false;
  use.mark.serving = {Serve::kNode, node};
  return true;
}

// Memory of one home that all nodes come to alike. The home itself may use it unseen, without a fault.
bool Planner::is_everybodys(const Use& use) const {
  const unsigned nodes = geometry_.program_nodes();
  if (std::popcount(use.homes) != 1 || use.bytes < nodes * kGranulePages * kPageBytes) return false;
  const double even = static_cast<double>(use.faults) / nodes;
  for (unsigned node = 0; node < nodes; ++node) {
    const auto share = static_cast<double>(use.faults_of[node]);
    if (share > even * kEvenly) return false;
    if (share * kEvenly < even && use.homes != node_bit(static_cast<NodeId>(node))) return false;
  }
  return nodes > 2;  // with two it is the other one that comes
}

bool Planner::serves(Use& use) const {
  if (use.faults < kFewFaults || use.blocks == 0) return false;
  if (use.parted_ns * 2 >= use.fault_ns && use.parted_pages != 0) {
    use.mark.serving = {Serve::kApart, 0};
    use.pages = use.parted_pages;
    use.faults = use.parted_faults;
    use.fault_ns = use.parted_ns;
    return true;
  }
  if (geometry_.memory_nodes != 0 || use.bytes / use.blocks < kPageBytes) return false;
  if (is_one_nodes(use)) return true;
  use.mark.serving = {Serve::kSpread, 0};
  return is_everybodys(use);
}

Plan Planner::run() {
  for (unsigned node = 0; node < file_.nodes(); ++node) take_blocks(node);
  std::stable_sort(blocks_.begin(), blocks_.end(), [](const Block& a, const Block& b) { return a.begin < b.begin; });
  for (const PageUse& page : file_.pages()) {
    if (geometry_.has_bytes(page.page)) take_page(page);
  }
  Plan plan;
  for (Use& use : uses_) {
    if (!serves(use)) continue;
    if (use.mark.id.empty()) {
      ++plan.without_id;
    } else {
      plan.sites.push_back({use.mark, use.pages, use.faults, use.fault_ns});
    }
  }
  std::stable_sort(plan.sites.begin(), plan.sites.end(),
                   [](const PlannedSite& a, const PlannedSite& b) { return a.fault_ns > b.fault_ns; });
  plan.sites.resize(std::min(plan.sites.size(), insight::kMostMarks));
  return plan;
}

std::string text_of(const char* field, std::size_t size) { return {field, ::strnlen(field, size)}; }

// "" if the program is the one that was profiled, as far as its file tells.
std::string complaint_about(const ProfileFile& file, const std::string& program) {
  const BuildId here = build_id_of_file(program);
  if (here.empty()) return "";  // a script, or linked without one
  for (unsigned node = 0; node < file.nodes(); ++node) {
    const insight::ModuleRecord& main = file.part(node).module[0];
    if (!file.joined(node) || main.id[0] == '\0') continue;
    if (text_of(main.id, sizeof main.id) == here) return "";
    return fmt::format("it is of another program than {}, or of another build of it; make a new profile", program);
  }
  return "";
}

}  // namespace

std::vector<SiteMark> Plan::marks() const {
  std::vector<SiteMark> marks;
  for (const PlannedSite& site : sites) marks.push_back(site.mark);
  return marks;
}

bool is_same_call(const SiteMark& a, const SiteMark& b) {
  return a.offset == b.offset && a.id == b.id && a.module == b.module;
}

std::optional<insight::Serving> Plan::serving_of(const std::vector<SiteMark>& calls) const {
  for (const PlannedSite& site : sites) {
    if (std::ranges::any_of(calls, [&](const SiteMark& call) { return is_same_call(call, site.mark); })) {
      return site.mark.serving;
    }
  }
  return std::nullopt;
}

std::optional<SiteMark> call_place(const insight::NodePart& part, std::uint64_t call) {
  for (const insight::ModuleRecord& module : part.module) {
    if (call < module.begin || call >= module.end) continue;
    std::string name = text_of(module.name, sizeof module.name);
    if (name.empty()) name = "program";
    return SiteMark{call - module.bias, text_of(module.id, sizeof module.id), name, {}};
  }
  return std::nullopt;
}

Plan plan_of(const ProfileFile& file) { return Planner(file).run(); }

tl::expected<std::string, std::string> marks_for(const Request& request) {
  const auto file = ProfileFile::open(request.profile);
  if (!file) return tl::unexpected(describe(file.error()));
  if (std::string wrong = complaint_about(**file, request.program); !wrong.empty()) return tl::unexpected(wrong);
  if (request.nodes == 1) return "";  // nobody to share with
  std::vector<SiteMark> marks = plan_of(**file).marks();
  if ((*file)->geometry().program_nodes() != request.nodes) {  // whose a site's blocks are is another question then
    std::erase_if(marks, [](const SiteMark& mark) { return mark.serving.how != Serve::kApart; });
  }
  return insight::to_text(marks);
}

}  // namespace dsm::advise
