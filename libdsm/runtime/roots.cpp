#include "runtime/roots.h"

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "base/futex.h"
#include "runtime/node.h"

namespace dsm::runtime {
namespace {

constexpr std::int64_t kPollNs = 2'000'000;  // between two tries of a lookup with a time limit
enum LookupMode : std::uint64_t { kNow = 0, kWait = 1 };

}  // namespace

Roots::Roots(Node& node) : node_(node) { serve(); }

bool Roots::publish(std::string_view name, void* pointer) {
  if (name.empty() || name.size() > Request::kMaxText) return false;
  Call(node_, 0, Operation::kPublish, {reinterpret_cast<std::uint64_t>(pointer), 0, 0}, name).wait();
  return true;
}

void* Roots::lookup(std::string_view name, std::int64_t timeout_ms) {
  if (name.empty() || name.size() > Request::kMaxText) return nullptr;
  const auto ask = [&](LookupMode mode) {
    return reinterpret_cast<void*>(Call(node_, 0, Operation::kLookup, {mode, 0, 0}, name).wait());
  };
  if (timeout_ms < 0) return ask(kWait);
  const std::int64_t begin = now_ns(), timeout_ns = std::min(timeout_ms, INT64_MAX / 1'000'000) * 1'000'000;
  for (std::atomic<std::uint32_t> never{0};;) {
    void* const found = ask(kNow);
    const std::int64_t left = timeout_ns - (now_ns() - begin);
    if (found != nullptr || left <= 0) return found;
    futex_wait(never, 0, FutexScope::kProcess, std::min(left, kPollNs));
  }
}

// Node 0 allocates, the others are told. The block's bytes are zero: fresh interleaved memory is so by itself, other
// memory is cleared by this thread, as the program would.
void* Roots::collective(std::size_t bytes, Place place) {
  const std::uint64_t number = collectives_++;
  std::uint64_t address = 0;
  if (node_.self == 0) address = reinterpret_cast<std::uint64_t>(make_collective(bytes, place));
  return reinterpret_cast<void*>(Call(node_, 0, Operation::kCollective, {number, node_.self == 0, address}).wait());
}

void* Roots::make_collective(std::size_t bytes, Place place) {
  void* const block = node_.blocks->allocate(bytes, 0, place, true);
  if (block != nullptr && place.kind == Place::Kind::kNode) std::memset(block, 0, bytes);
  return block;
}

void Roots::serve() {
  Calls& calls = *node_.calls;
  calls.handle(Operation::kPublish, [&](Caller caller, const Request& request) {
    Root& root = roots_[std::string(request.text, request.text_bytes)];
    root.known = true;
    root.value = request.args[0];
    for (const Caller waiting : root.waiting) calls.reply(waiting, root.value);
    root.waiting.clear();
    calls.reply(caller, 0);
  });
  calls.handle(Operation::kLookup, [&](Caller caller, const Request& request) {
    const std::string name(request.text, request.text_bytes);
    const auto found = roots_.find(name);
    if (found != roots_.end() && found->second.known) return calls.reply(caller, found->second.value);
    if (request.args[0] != kWait) return calls.reply(caller, 0);
    roots_[name].waiting.push_back(caller);
  });
  calls.handle(Operation::kCollective, [&](Caller caller, const Request& request) {
    const auto [number, decides, address] = request.args;
    Collective& block = blocks_[number];
    block.waiting.push_back(caller);
    if (decides != 0) {
      block.known = true;
      block.address = address;
    }
    if (!block.known) return;
    for (const Caller waiting : block.waiting) calls.reply(waiting, block.address);
    block.served += static_cast<unsigned>(block.waiting.size());
    block.waiting.clear();
    if (block.served == node_.geometry.program_nodes()) blocks_.erase(number);
  });
}

}  // namespace dsm::runtime
