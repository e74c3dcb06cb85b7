#include "sync/handle.h"

#include <atomic>
#include <bit>
#include <cstdlib>

#include "base/log.h"
#include "runtime/latch_lock.h"
#include "runtime/node.h"
#include "sync/server.h"

namespace dsm {
namespace sync {
namespace {

constexpr std::uint64_t kDead = 0x6465'6164;  // xor this: the object has been destroyed
constexpr std::uint64_t kDone = 0x646f'6e65;  // xor this: a once_flag whose function has run

// Differs for each object's address and slot, so that a copy's mark is wrong, and garbage and zeroes are.
std::uint64_t mark_of(const detail::slot& slot) {
  const auto address = reinterpret_cast<std::uint64_t>(&slot);
  return (address ^ std::rotl(slot.page, 40) ^ 0x736c'6f74'736c'6f74) * 0x9e37'79b9'7f4a'7c15;
}

// Through an atomic: other nodes' threads may read a once_flag's mark while it becomes done, and a destructor's last
// store must not be optimised away.
std::uint64_t load_mark(const detail::slot& slot) {
  return std::atomic_ref(const_cast<std::uint64_t&>(slot.mark)).load(std::memory_order_acquire);
}
void store_mark(detail::slot& slot, std::uint64_t mark) {
  std::atomic_ref(slot.mark).store(mark, std::memory_order_release);
}

[[noreturn]] void wrong_mark(const detail::slot& slot, std::uint64_t mark, const char* kind) {
  misuse(kind, &slot,
         mark == (mark_of(slot) ^ kDead)
             ? "used after its destruction"
             : "no such object here: it was never constructed, or has been copied or overwritten");
}

}  // namespace

void misuse(const char* kind, const void* object, const char* what) {
  log(LogLevel::kError, "sync", "{} at {}: {}; the program ends", kind, object, what);
  std::abort();
}

PageId page_of(const detail::slot& slot, const char* kind) {
  const std::uint64_t mark = load_mark(slot);
  if (mark != mark_of(slot)) [[unlikely]]
    wrong_mark(slot, mark, kind);
  return slot.page;
}

void set_done(detail::slot& slot) { store_mark(slot, mark_of(slot) ^ kDone); }

bool is_done(const detail::slot& slot, const char* kind) {
  const std::uint64_t mark = load_mark(slot);
  if (mark == (mark_of(slot) ^ kDone)) return true;
  if (mark != mark_of(slot)) wrong_mark(slot, mark, kind);
  return false;
}

std::uint64_t checked(std::uint64_t answer, const detail::slot& slot, const char* kind) {
  if (answer == kNoSuchObject) misuse(kind, &slot, "its home knows no such object");
  if (answer == kBadArgument) misuse(kind, &slot, "an argument does not fit what other threads have said of it");
  return answer;
}

std::uint64_t ask(const detail::slot& slot, const char* kind, runtime::Operation operation, std::uint64_t what,
                  std::uint64_t count) {
  page_of(slot, kind);
  return ask_checked(slot, kind, operation, what, count);
}

std::uint64_t ask_checked(const detail::slot& slot, const char* kind, runtime::Operation operation, std::uint64_t what,
                          std::uint64_t count) {
  runtime::Node& node = runtime::node();
  const PageId page = slot.page;
  return checked(runtime::Call(node, node.geometry.home(page), operation, {page, what, count}).wait(), slot, kind);
}

}  // namespace sync

namespace detail {
namespace {
constexpr const char* kKind = "dsm synchronisation object";
}

slot::slot() {
  const runtime::Node& node = runtime::node();
  if (!node.geometry.holds(reinterpret_cast<std::uint64_t>(this))) {
    sync::misuse(kKind, this, "constructed outside the global heap, where other nodes cannot use it (try dsm::make)");
  }
  page = sync::server().take_slot();
  if (page == sync::Server::kNoSlot) sync::misuse(kKind, this, "this node has no slots left (2^20 are all in use)");
  sync::store_mark(*this, sync::mark_of(*this));
}

slot::~slot() {
  if (!runtime::node_running()) return;
  runtime::Node& node = runtime::node();
  if (!sync::is_done(*this, kKind)) sync::page_of(*this, kKind);
  if (runtime::latch_held(node, page)) sync::misuse(kKind, this, "destroyed while a thread of this node holds it");
  sync::store_mark(*this, sync::mark_of(*this) ^ sync::kDead);
  const std::uint64_t waiting =
      runtime::Call(node, node.geometry.home(page), runtime::Operation::kFreeSlot, {page, 0, 0}).wait();
  if (sync::checked(waiting, *this, kKind) != 0) sync::misuse(kKind, this, "destroyed while threads wait on it");
}

}  // namespace detail
}  // namespace dsm
