// The node's object engine, and what is checked of every borrow's arguments.
#include <unistd.h>

#include <cstdlib>

#include "base/log.h"
#include "hints/borrow.h"
#include "hints/checks.h"
#include "hints/fetch.h"
#include "runtime/block_checks.h"
#include "runtime/blocks.h"

namespace dsm::hints {
namespace {

constexpr std::atomic<std::uint64_t> kOpenPage{1};
static_assert(runtime::Objects::is_open(1));

// A forked child that ends has no node.
void end_thread(runtime::ThreadPins& thread) {
  if (::getpid() != engine().process) return;
  end_fetches(engine(), thread);
  thread.for_each([](const Pin& pin) {
    runtime::end_for_misuse("a thread has ended inside its borrow of", pin.address.load(), pin.site,
                            "end each borrow on the thread's way out", {});
  });
  engine().cache.end_thread(thread);
}

}  // namespace

Engine::Engine(runtime::Node& the_node)
    : node(the_node),
      objects(*the_node.objects),
      cache(the_node, static_cast<std::uint64_t>(the_node.config.object_cache)),
      alone(the_node.geometry.program_nodes() == 1),
      check(the_node.config.check != 0),
      range_begin(the_node.geometry.base),
      range_bytes(the_node.geometry.memory_bytes()),
      slice_begin(the_node.geometry.address_of(the_node.geometry.slice_first(the_node.self))),
      slice_bytes(alone ? range_bytes : the_node.geometry.slice_bytes),
      // Memory that is never shared has one view only, and that of memory nodes one that faults.
      slice_view(alone ? reinterpret_cast<std::byte*>(slice_begin)
                       : the_node.service_view + (slice_begin - the_node.geometry.base)),
      slice_headers(objects.slice_headers()),
      slice_pages(alone ? &kOpenPage : objects.slice_pages()),
      page_shift(alone ? 63 : kPageShift),
      quick_bytes(check || slice_headers == nullptr ? 0 : slice_bytes - runtime::kScratchBytes) {
  objects.begin_borrows(&cache);
  runtime::on_thread_end(end_thread);
}

namespace detail {

constinit std::atomic<Engine*> the_engine{nullptr};

Engine& make_engine() {
  static Engine& made = *new Engine(runtime::node());  // as long as the node, which is never destroyed
  the_engine.store(&made, std::memory_order_release);
  return made;
}

}  // namespace detail

// --- checks ---------------------------------------------------------------------------------------------------------

void end_for_object(std::uint64_t address, std::size_t bytes, CallSite site) {
  if (runtime::my_pins().hint == nullptr) end_for_borrow_in_call(site);  // what it has there is no global address
  const char* const fault = address == 0         ? "a borrow of a null pointer,"
                            : bytes == 0         ? "a borrow of no bytes at"
                            : bytes > kMostBytes ? "a borrow of more than 64 MiB, which no object may have, at"
                                                 : "a borrow of memory that is not in the global heap:";
  runtime::end_for_misuse(fault, address, site, "", {});
}

void end_for_borrow_in_call(CallSite site) {
  log(LogLevel::kError, "borrow",
      "a borrow{} inside a function that call_at runs: that must touch nothing but its object, as all calls of the "
      "node wait for it (spawn_on runs functions that may do anything); the program ends",
      runtime::site_text(site).data());
  std::abort();
}

void check_in_use(const Engine& engine, std::uint64_t address, CallSite site) {
  const runtime::Node& node = engine.node;
  if (node.checks == nullptr || !node.blocks->kept_here(address) || !node.checks->is_free(address)) return;
  runtime::end_for_misuse("a borrow of what is in no block of the heap, since it was freed or never allocated,",
                          address, site, "", {});
}

void check_own_borrows(std::uint64_t address, std::size_t bytes, bool changes, CallSite site) {
  const auto mine = [&](const Pin& pin) {
    if (!pin.overlaps(address, bytes)) return;
    const bool conflict = changes || pin.kind.load() == runtime::PinKind::kWrite;
    if (conflict && pin.borrow.stage == proto::BorrowStage::kHeld) {
      runtime::end_for_misuse(changes ? "a mutable borrow of" : "a shared borrow of", address, site,
                              "the same thread has it borrowed already, and would wait for itself:", pin.site);
    }
  };
  runtime::my_pins().for_each(mine);
}

void check_overlaps(std::uint64_t address, std::size_t bytes, CallSite site) {
  runtime::for_each_pin([&](const Pin& pin) {
    if (!pin.overlaps(address, bytes) || (pin.address.load() == address && pin.bytes.load() == bytes)) return;
    runtime::end_for_misuse("a borrow of", address, site,
                            "it overlaps another borrow without being of the same object, begun", pin.site);
  });
}

}  // namespace dsm::hints
