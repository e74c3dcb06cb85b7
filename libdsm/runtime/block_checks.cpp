#include "runtime/block_checks.h"

#include <mutex>
#include <string>

#include "base/log.h"
#include "base/signals.h"
#include "runtime/calls.h"
#include "runtime/forks.h"
#include "runtime/misuse.h"
#include "runtime/node.h"

namespace dsm::runtime {
namespace {

std::uint64_t value_of(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

class WatchedHeap final : public heap::Heap {
 public:
  WatchedHeap(std::unique_ptr<heap::Heap> heap, BlockChecks& checks, NodeId self)
      : heap_(std::move(heap)), checks_(checks), self_(self) {}

  void* allocate(std::size_t bytes, std::size_t alignment, heap::Kind kind, bool zero) override {
    return entered(heap_->allocate(bytes, alignment, kind, zero));
  }
  void release(void* block) override { heap_->release(block); }
  std::size_t usable_size(const void* block) const override { return heap_->usable_size(block); }
  void* resize(void* block, std::size_t bytes) override {
    checks_.look(value_of(block), true, self_);
    void* const resized = heap_->resize(block, bytes);
    entered(resized != nullptr ? resized : block);
    return resized;
  }
  void forget_thread() override { heap_->forget_thread(); }

 private:
  void* entered(void* block) {
    if (block != nullptr) checks_.enter(value_of(block), heap_->usable_size(block));
    return block;
  }

  const std::unique_ptr<heap::Heap> heap_;
  BlockChecks& checks_;
  const NodeId self_;
};

std::string text_of(const BlockFinding& found) {
  switch (found.state) {
    case BlockState::kInside:
      return fmt::format("no block begins here, {} bytes inside one", found.value);
    case BlockState::kFreed:
      return fmt::format("the block that began here has been freed already, by node {}", found.node);
    case BlockState::kLive:
    case BlockState::kNone:
      break;
  }
  return "no block of the heap begins here";
}

}  // namespace

std::unique_ptr<heap::Heap> BlockChecks::watch(std::unique_ptr<heap::Heap> heap) {
  return std::make_unique<WatchedHeap>(std::move(heap), *this, node_.self);
}

// A node that does not check may have freed what was here before.
void BlockChecks::enter(std::uint64_t address, std::uint64_t bytes) {
  if (in_forked_child()) return;
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  live_.insert_or_assign(address, bytes);
}

BlockFinding BlockChecks::look(std::uint64_t address, bool frees, NodeId by) {
  if (in_forked_child()) return {BlockState::kLive, kNoNode, 0};
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  const BlockFinding found = find(address);
  if (frees && found.state == BlockState::kLive) {
    live_.erase(address);
    freed(address) = {address, by, {}};
  }
  return found;
}

BlockFinding BlockChecks::find(std::uint64_t address) const {
  auto block = live_.upper_bound(address);
  if (block != live_.begin() && (--block, address - block->first < block->second)) {
    const std::uint64_t inside = address - block->first;
    if (inside != 0) return {BlockState::kInside, kNoNode, inside};
    return {BlockState::kLive, kNoNode, block->second};
  }
  const Freed& before = freed(address);
  if (before.address == address) return {BlockState::kFreed, before.by, 0};
  return {};
}

BlockFinding BlockChecks::ask(const void* block, NodeId keeper, bool frees) {
  const std::uint64_t address = value_of(block);
  if (keeper == node_.self) return look(address, frees, node_.self);
  if (in_forked_child() || node_finished()) return {BlockState::kLive, kNoNode, 0};
  Call call(node_, keeper, Operation::kBlockState, {address, frees ? 1U : 0U, 0});
  return BlockFinding::unpacked(call.wait());
}

void BlockChecks::check_free(const void* block, NodeId keeper) {
  const std::uint64_t address = value_of(block);
  const BlockFinding found = ask(block, keeper, true);
  if (found.state != BlockState::kLive) end(block, found, "free");
  my_pins().for_each([&](const Pin& pin) {
    if (!pin.overlaps(address, found.value)) return;
    end_for_misuse("a free of", address, {}, "the same thread has borrowed what is in the block", pin.site);
  });
  if (in_forked_child()) return;
  const Freed note{address, node_.self, callers_now()};
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  freed(address) = note;
}

void BlockChecks::check_use(const void* block, NodeId keeper, const char* call) {
  const BlockFinding found = ask(block, keeper, false);
  if (found.state != BlockState::kLive) end(block, found, call);
}

bool BlockChecks::is_free(std::uint64_t address) {
  const BlockFinding found = look(address, false, node_.self);
  return found.state != BlockState::kLive && found.state != BlockState::kInside;
}

void BlockChecks::end(const void* block, const BlockFinding& found, const char* call) {
  log(LogLevel::kError, "heap", "{}({}): {}; the program ends", call, block, text_of(found));
  say_callers("now:", callers_now(), At::kCall, "heap");
  Freed before;
  {
    const SignalsBlocked blocked;
    const std::lock_guard guard(lock_);
    before = freed(value_of(block));
  }
  if (found.state == BlockState::kFreed && found.node == node_.self && before.address == value_of(block)) {
    say_callers("freed before:", before.callers, At::kCall, "heap");
  }
  std::abort();
}

}  // namespace dsm::runtime
