// <dsm/dsm.h>: checks the arguments and hands on to the runtime.
#include <dsm/dsm.h>

#include <algorithm>

#include "api/calls.h"
#include "api/errors.h"
#include "base/signals.h"
#include "runtime/blocks.h"
#include "runtime/node.h"
#include "runtime/pages.h"
#include "runtime/roots.h"
#include "runtime/sites.h"
#include "runtime/start_hooks.h"
#include "sync/server.h"

namespace dsm {
namespace {

// So many pages of a hint are worked on with the program's signals blocked at a stretch.
constexpr PageId kHintPages = 512;

std::uint64_t address_of(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

// Where the runtime shall allocate; a node that does not exist stays one that does not exist.
runtime::Place place_of(const runtime::Node& node, placement where) {
  switch (where.where) {
    case placement::kind::local:
      return {runtime::Place::Kind::kNode, node.self};
    case placement::kind::on_node:
      return {runtime::Place::Kind::kNode, static_cast<NodeId>(std::min<unsigned>(where.node, kNoNode))};
    case placement::kind::interleaved:
      return {runtime::Place::Kind::kInterleaved, 0};
  }
  return {runtime::Place::Kind::kNode, kNoNode};
}

void* recorded(const runtime::Node& node, void* block, std::size_t bytes, const void* call) {
  if (node.recorder != nullptr) node.recorder->allocated(block, bytes, call);
  return block;
}

const insight::Serving* marked(const runtime::Node& node, const void* call) {
  return node.sites == nullptr ? nullptr : node.sites->at(call);
}

std::error_code hint(const void* address, std::size_t bytes, const proto::Event& event) {
  runtime::Node& node = runtime::node();
  const Geometry& geometry = node.geometry;
  const std::uint64_t begin = address_of(address);
  if (!geometry.holds(begin) || bytes > geometry.base + geometry.memory_bytes() - begin) {
    return std::make_error_code(std::errc::invalid_argument);
  }
  if (bytes == 0) return {};
  const PageRange pages = geometry.pages_of(begin, bytes);
  for (PageId first = pages.first; first < pages.end();) {
    const auto count = static_cast<std::uint32_t>(std::min(pages.end() - first, kHintPages));
    const SignalsBlocked blocked;
    node.pages->hint({first, count}, event);
    first += count;
  }
  return {};
}

}  // namespace

// --- start and end --------------------------------------------------------------------------------------------------

std::error_code start() {
  runtime::add_start_hook(sync::start_sync);
  const auto started = runtime::start_node();
  return started ? std::error_code{} : api::to_error_code(started.error());
}

void finish() { runtime::finish_node(runtime::Finish::kCalled); }
unsigned node() { return runtime::node().self; }
unsigned nodes() { return runtime::node().geometry.program_nodes(); }

// --- heap -----------------------------------------------------------------------------------------------------------

[[gnu::noinline]] void* alloc(std::size_t bytes, std::size_t alignment, placement where) {
  return api::alloc_at(bytes, alignment, where, __builtin_return_address(0));
}

void* api::alloc_at(std::size_t bytes, std::size_t alignment, placement where, const void* call) {
  const runtime::Node* const running = runtime::node_unless_finished();
  if (running == nullptr) return nullptr;
  const runtime::Node& node = *running;
  const bool power_of_two = (alignment & (alignment - 1)) == 0;
  if (!power_of_two || (where.where == placement::kind::on_node && where.node >= node.geometry.program_nodes()))
    return nullptr;
  const std::size_t least = std::max<std::size_t>(bytes, 1);
  // What most allocations are: as Blocks::allocate() would do it, a third sooner.
  if (where.where == placement::kind::local && node.sites == nullptr && node.recorder == nullptr) [[likely]] {
    count(node.stats->alloc);
    return node.heap->allocate(least, alignment, heap::Kind::kRaw, false);
  }
  const runtime::Place place = place_of(node, where);
  const insight::Serving* const serving = marked(node, call);
  if (serving == nullptr) [[likely]]
    return recorded(node, node.blocks->allocate(least, alignment, place), bytes, call);
  const bool named = where.where != placement::kind::local;
  return recorded(node, node.sites->allocate(*serving, least, alignment, place, named), bytes, call);
}

void free(void* block) {
  if (const runtime::Node* const node = runtime::node_unless_finished()) node->blocks->release(block);
}

[[gnu::noinline]] void* realloc(void* block, std::size_t bytes) {
  return api::realloc_at(block, bytes, __builtin_return_address(0));
}

void* api::realloc_at(void* block, std::size_t bytes, const void* call) {
  const runtime::Node* const running = runtime::node_unless_finished();
  if (running == nullptr) return nullptr;
  const runtime::Node& node = *running;
  const std::size_t least = std::max<std::size_t>(bytes, 1);
  void* const resized =
      node.sites == nullptr ? node.blocks->resize(block, least) : node.sites->resize(block, least, call);
  return resized == block ? block : recorded(node, resized, bytes, call);
}

std::size_t usable_size(const void* block) { return runtime::node().blocks->usable_size(block); }

unsigned home(const void* address) {
  const Geometry& geometry = runtime::node().geometry;
  const std::uint64_t value = address_of(address);
  return geometry.holds(value) ? geometry.home(geometry.page_of(value)) : geometry.nodes;
}

[[gnu::noinline]] void* alloc_collective(std::size_t bytes, placement where) {
  return api::alloc_collective_at(bytes, where, __builtin_return_address(0));
}

void* api::alloc_collective_at(std::size_t bytes, placement where, const void* call) {
  const runtime::Node* const running = runtime::node_unless_finished();
  if (running == nullptr) return nullptr;
  const runtime::Node& node = *running;
  if (where.where == placement::kind::on_node && where.node >= node.geometry.program_nodes()) return nullptr;
  const bool named = where.where != placement::kind::local;
  // "Local" is the node that allocates for all: node 0.
  if (!named) where = on_node(0);
  const std::size_t least = std::max<std::size_t>(bytes, 1);
  runtime::Place place = place_of(node, where);
  if (const insight::Serving* const serving = marked(node, call)) {
    place = node.sites->place_of(*serving, least, place, named);
  }
  return recorded(node, node.roots->collective(least, place), bytes, call);
}

// --- named roots ----------------------------------------------------------------------------------------------------

std::error_code publish(std::string_view name, void* pointer) {
  const bool good = runtime::node().roots->publish(name, pointer);
  return good ? std::error_code{} : std::make_error_code(std::errc::invalid_argument);
}

void* lookup(std::string_view name, std::chrono::milliseconds timeout) {
  return runtime::node().roots->lookup(name, timeout.count());
}

// --- hints ----------------------------------------------------------------------------------------------------------

std::error_code prefetch(const void* address, std::size_t bytes, access kind) {
  const Access wanted = kind == access::write ? Access::kWrite : Access::kRead;
  return hint(address, bytes, {.kind = proto::EventKind::kAhead, .access = wanted});
}

std::error_code release(const void* address, std::size_t bytes) {
  return hint(address, bytes, {.kind = proto::EventKind::kRelease});
}

std::error_code transfer(const void* address, std::size_t bytes, unsigned to) {
  if (to >= nodes()) return std::make_error_code(std::errc::invalid_argument);
  return hint(address, bytes, {.kind = proto::EventKind::kTransfer, .node = static_cast<NodeId>(to)});
}

}  // namespace dsm
