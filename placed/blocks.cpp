// Memory for objects on any node.
#include <dsm/guarded.h>

#include "base/meta_layout.h"
#include "heap/chunk_kinds.h"
#include "runtime/calls.h"
#include "runtime/node.h"

namespace dsm::detail {

void* object_block(std::size_t bytes, unsigned node) {
  runtime::Node& here = runtime::node();
  if (node >= here.geometry.program_nodes()) return nullptr;
  const std::size_t whole = (bytes + kObjectGranule - 1) & ~(kObjectGranule - 1);
  if (node == here.self) return here.heap->allocate(whole, kObjectGranule, heap::Kind::kObject, false);
  const auto kind = static_cast<std::uint64_t>(heap::Kind::kObject);
  runtime::Call call(here, static_cast<NodeId>(node), runtime::Operation::kAllocate, {whole, kObjectGranule, kind});
  return reinterpret_cast<void*>(call.wait());
}

}  // namespace dsm::detail
