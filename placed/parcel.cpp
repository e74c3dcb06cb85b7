#include "placed/parcel.h"

#include <dsm/guarded.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/log.h"
#include "base/signals.h"
#include "runtime/lost.h"
#include "runtime/node.h"

namespace dsm::placed {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 30;

// Nobody else can receive it; and the heap may be on memory nodes.
bool stays(const runtime::Node& node) { return node.geometry.program_nodes() == 1; }

void execute(runtime::Node& node, std::uint64_t address, net::Op op) {
  const NodeId home = node.geometry.home(node.geometry.page_of(address));
  op.offset = address - node.geometry.base;
  const SignalsBlocked blocked;
  runtime::execute_or_end(node, home, {&op, 1});
}

}  // namespace

Parcel::Parcel(runtime::Node& node, std::size_t bytes) : node_(&node) {
  if (!stays(node) && node.geometry.memory_nodes != 0) {
    log(LogLevel::kError, "placed",
        "work that goes from node to node needs heaps of the nodes' own, and this job has them on memory nodes (try "
        "without --memory-nodes, or with -n 1); the program ends");
    std::abort();
  }
  void* const block = stays(node) ? std::malloc(bytes) : detail::object_block(bytes, node.self);
  if (block == nullptr) {
    log(LogLevel::kError, "placed", "no memory for {} bytes that are to be sent to another node; the program ends",
        bytes);
    std::abort();
  }
  address_ = reinterpret_cast<std::uint64_t>(block);
}

Parcel::~Parcel() {
  if (address_ == 0) return;
  auto* const block = reinterpret_cast<void*>(address_);
  stays(*node_) ? std::free(block) : dsm::free(block);
}

std::byte* Parcel::data() const {
  if (stays(*node_)) return reinterpret_cast<std::byte*>(address_);
  return node_->service_view + (address_ - node_->geometry.base);
}

void read_parcel(runtime::Node& node, std::uint64_t address, std::span<std::byte> to) {
  if (stays(node)) return void(std::memcpy(to.data(), reinterpret_cast<const void*>(address), to.size()));
  for (std::size_t done = 0; done < to.size(); done += kPiece) {
    const auto bytes = static_cast<std::uint32_t>(std::min(kPiece, to.size() - done));
    execute(node, address + done, net::read_op(net::Region::kMemory, 0, to.data() + done, bytes));
  }
}

void write_parcel(runtime::Node& node, std::uint64_t address, std::span<const std::byte> from) {
  if (stays(node)) return void(std::memcpy(reinterpret_cast<void*>(address), from.data(), from.size()));
  for (std::size_t done = 0; done < from.size(); done += kPiece) {
    const auto bytes = static_cast<std::uint32_t>(std::min(kPiece, from.size() - done));
    execute(node, address + done, net::write_op(net::Region::kMemory, 0, from.data() + done, bytes));
  }
}

}  // namespace dsm::placed
