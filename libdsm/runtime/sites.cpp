#include "runtime/sites.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/log.h"
#include "runtime/node.h"

namespace dsm::runtime {
namespace {

using insight::Serve;
using insight::Serving;

// From here on a block is interleaved page by page and not as a whole: two granules at the least.
constexpr std::size_t kInterleavedBytes = 2 * kGranulePages * kPageBytes;
constexpr std::size_t kLeastSlots = 64;

const Module* same_build(const std::vector<Module>& modules, const insight::SiteMark& mark) {
  const auto found = std::ranges::find(modules, mark.id, &Module::id);
  return found == modules.end() ? nullptr : &*found;
}

bool other_build(const std::vector<Module>& modules, const insight::SiteMark& mark) {
  return std::ranges::any_of(modules, [&](const Module& module) {
    return !module.name.empty() && insight::module_name(module.name) == mark.module;
  });
}

}  // namespace

Result<std::unique_ptr<Sites>> Sites::create(Node& node, const std::string& text, const std::vector<Module>& modules) {
  const auto marks = insight::parse_marks(text);
  if (!marks) return fail(Errc::kBadOption, "DSM_SITES is not what dsmrun --auto-from makes of a profile");
  std::vector<Slot> calls;
  for (const insight::SiteMark& mark : *marks) {
    if (const Module* const module = same_build(modules, mark)) {
      calls.push_back({module->bias + mark.offset, mark.serving});
    } else if (other_build(modules, mark)) {
      log(LogLevel::kError, "sites", "{} is another build than the one that was profiled; make a new profile",
          mark.module);
      return fail(Errc::kBadOption, "the profile of --auto-from is stale");
    }
  }
  if (calls.size() < marks->size()) {
    log(LogLevel::kWarn, "sites",
        "{} of {} allocation sites are in libraries that are not loaded at the start: as ever",
        marks->size() - calls.size(), marks->size());
  }
  auto sites = std::unique_ptr<Sites>(new Sites(node));
  sites->fill(calls);
  return sites;
}

void Sites::fill(const std::vector<Slot>& calls) {
  const std::size_t size = std::max(kLeastSlots, std::bit_ceil(calls.size() * 4));
  slots_.resize(size);
  shift_ = static_cast<unsigned>(64 - std::countr_zero(size));
  for (const Slot& slot : calls) {
    std::size_t i = (slot.call * kScatter) >> shift_;
    while (slots_[i].call != 0 && slots_[i].call != slot.call) i = (i + 1) & (size - 1);
    slots_[i] = slot;
  }
}

Place Sites::place_of(const Serving& serving, std::size_t bytes, Place asked, bool named) {
  if (serving.how == Serve::kApart) {
    if (asked.kind == Place::Kind::kNode) asked.blocks = heap::Kind::kApart;
    return asked;
  }
  if (named || bytes < kPageBytes || node_.geometry.memory_nodes != 0) return asked;
  if (serving.how == Serve::kNode) {
    return serving.node < node_.geometry.nodes ? Place{Place::Kind::kNode, serving.node} : asked;
  }
  if (bytes >= kInterleavedBytes) return {Place::Kind::kInterleaved, 0};
  const std::uint32_t turn = next_.fetch_add(1, std::memory_order_relaxed);
  return {Place::Kind::kNode, static_cast<NodeId>(turn % node_.geometry.nodes)};
}

void* Sites::allocate(const Serving& serving, std::size_t bytes, std::size_t alignment, Place asked, bool named) {
  const Place place = place_of(serving, bytes, asked, named);
  void* const block = node_.blocks->allocate(bytes, alignment, place);
  const bool elsewhere = place.kind != asked.kind || place.node != asked.node;
  if (!elsewhere) return block;
  if (block == nullptr) return node_.blocks->allocate(bytes, alignment, asked);
  count(node_.stats->alloc_placed);
  return block;
}

// A block stays at its home, and one that fits where it is stays there. What grows at a site that is served apart goes
// there; what is apart already stays so (heap.h).
void* Sites::resize(void* block, std::size_t bytes, const void* call) {
  const Serving* const serving = at(call);
  const bool apart = serving != nullptr && serving->how == Serve::kApart;
  if (!apart || (block != nullptr && !node_.blocks->is_here(block))) return node_.blocks->resize(block, bytes);
  const Place asked{Place::Kind::kNode, node_.self};
  const std::size_t usable = node_.blocks->usable_size(block);
  if (block != nullptr && bytes <= usable) return node_.blocks->resize(block, bytes);
  void* const moved = allocate(*serving, bytes, 0, asked, false);
  if (moved == nullptr || block == nullptr) return moved;
  std::memcpy(moved, block, usable);
  node_.blocks->release(block);
  return moved;
}

}  // namespace dsm::runtime
