// <dsm/dsm.h>: checks the arguments and hands on to the runtime.
#include <dsm/dsm.h>

#include <algorithm>

#include "api/errors.h"
#include "base/signals.h"
#include "runtime/blocks.h"
#include "runtime/node.h"
#include "runtime/pages.h"
#include "runtime/roots.h"
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

void* recorded(const runtime::Node& node, void* block, std::size_t bytes) {
  if (node.recorder != nullptr) node.recorder->allocated(block, bytes);
  return block;
}

std::error_code hint(const void* address, std::size_t bytes, const proto::Event& event) {
  runtime::Node& node = runtime::node();
  const Geometry& geometry = node.geometry;
  const std::uint64_t begin = address_of(address);
  if (!geometry.holds(begin) || bytes > geometry.base + geometry.memory_bytes() - begin) {
    return std::make_error_code(std::errc::invalid_argument);
  }
  if (bytes == 0) return {};
  const PageId end = geometry.page_of(begin + bytes - 1) + 1;
  for (PageId first = geometry.page_of(begin); first < end;) {
    const auto count = static_cast<std::uint32_t>(std::min(end - first, kHintPages));
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

void finish() { runtime::finish_node(); }
unsigned node() { return runtime::node().self; }
unsigned nodes() { return runtime::node().geometry.program_nodes(); }

// --- heap -----------------------------------------------------------------------------------------------------------

void* alloc(std::size_t bytes, std::size_t alignment, placement where) {
  const runtime::Node& node = runtime::node();
  const bool power_of_two = (alignment & (alignment - 1)) == 0;
  if (!power_of_two || (where.where == placement::kind::on_node && where.node >= node.geometry.program_nodes()))
    return nullptr;
  return recorded(node, node.blocks->allocate(std::max<std::size_t>(bytes, 1), alignment, place_of(node, where)),
                  bytes);
}

void free(void* block) { runtime::node().blocks->release(block); }

void* realloc(void* block, std::size_t bytes) {
  const runtime::Node& node = runtime::node();
  void* const resized = node.blocks->resize(block, std::max<std::size_t>(bytes, 1));
  return resized == block ? block : recorded(node, resized, bytes);
}

std::size_t usable_size(const void* block) { return runtime::node().blocks->usable_size(block); }

unsigned home(const void* address) {
  const Geometry& geometry = runtime::node().geometry;
  const std::uint64_t value = address_of(address);
  return geometry.holds(value) ? geometry.home(geometry.page_of(value)) : geometry.nodes;
}

void* alloc_collective(std::size_t bytes, placement where) {
  const runtime::Node& node = runtime::node();
  if (where.where == placement::kind::on_node && where.node >= node.geometry.program_nodes()) return nullptr;
  // "Local" is the node that allocates for all: node 0.
  if (where.where == placement::kind::local) where = on_node(0);
  return recorded(node, node.roots->collective(std::max<std::size_t>(bytes, 1), place_of(node, where)), bytes);
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
  return hint(address, bytes, {.kind = proto::EventKind::kPrefetch, .access = wanted});
}

std::error_code release(const void* address, std::size_t bytes) {
  return hint(address, bytes, {.kind = proto::EventKind::kRelease});
}

std::error_code transfer(const void* address, std::size_t bytes, unsigned to) {
  if (to >= nodes()) return std::make_error_code(std::errc::invalid_argument);
  return hint(address, bytes, {.kind = proto::EventKind::kTransfer, .node = static_cast<NodeId>(to)});
}

}  // namespace dsm
