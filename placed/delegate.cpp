// <dsm/delegate.h>, the side that calls: a thread's buffers, and how they go out.
#include <dsm/delegate.h>
#include <sys/mman.h>

#include <array>
#include <bit>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/no_memory.h"
#include "base/signals.h"
#include "hints/borrow.h"
#include "hints/checks.h"
#include "placed/executor.h"
#include "placed/image.h"
#include "placed/inside.h"
#include "placed/parcel.h"
#include "placed/taken.h"
#include "runtime/calls.h"
#include "runtime/lost.h"
#include "runtime/node.h"
#include "runtime/wire.h"

namespace dsm {
namespace placed {
namespace {

using detail::call_lane;
using detail::run_records;
using runtime::Call;
using runtime::Operation;

// How long a thread that has borrowed something waits for its posted calls before it looks whether they wait for it.
constexpr std::int64_t kLookNs = 5'000'000;

// A thread's calls to one node.
struct Way {
  std::uint64_t ring = 0;  // there; 0: not opened yet
  std::uint64_t doorbell = 0;
  std::uint64_t sent = 0;   // batches
  std::uint64_t taken = 0;  // of them, at the last look
  std::uint64_t ended = 0;  // of them, by the last fence
  RingSlot* batch = nullptr;
  Source here;  // for calls on objects of this node itself
};

// What a thread posts with; another thread's after its end.
struct Poster {
  detail::call_lanes lanes;
  Way ways[kMaxNodes];
  Asker asker;  // who makes it send or wait just now

  explicit Poster(runtime::Node& node) : node_(node) {
    const Geometry& geometry = node.geometry;
    lanes.base = geometry.base;
    // Else each call asks for its home the slow way.
    if (std::has_single_bit(geometry.slice_bytes) && geometry.memory_nodes == 0) {
      lanes.sliced = geometry.slice_bytes * geometry.nodes;
      lanes.shift = static_cast<unsigned>(std::countr_zero(geometry.slice_bytes));
    }
  }
  std::byte* slot(std::uint64_t object, run_records run, std::size_t stride, std::size_t object_bytes);
  void send(NodeId home);
  void finish(NodeId home);
  void finish_all();

 private:
  void open(NodeId home);
  void begin_batch(NodeId home);
  void put_into_ring(NodeId home, RingSlot& batch);
  void await_room(NodeId home);
  void fence(NodeId home, std::uint64_t batches, FenceWish wish);
  void await_none_aside();
  template <typename WaitsFor>
  void check_own_borrows(NodeId home, WaitsFor waits_for) const;
  std::uint64_t offset(std::uint64_t address) const { return address - node_.geometry.base; }

  runtime::Node& node_;
};

std::mutex idle_lock;
std::vector<Poster*>& idle() {
  static auto& made = *new std::vector<Poster*>;
  return made;
}
thread_local Poster* mine = nullptr;

// What a thread has posted goes out at its end.
struct ThreadEnd {
  ~ThreadEnd() {
    if (mine == nullptr) return;
    mine->asker = {.what = "the end of a thread"};
    mine->finish_all();
    detail::my_lanes = nullptr;
    const std::lock_guard guard(idle_lock);
    idle().push_back(mine);
    mine = nullptr;
  }
};

Poster& poster() {
  if (mine != nullptr) [[likely]]
    return *mine;
  static thread_local const ThreadEnd end;
  static_cast<void>(&end);
  {
    const std::lock_guard guard(idle_lock);
    if (!idle().empty()) {
      mine = idle().back();
      idle().pop_back();
    }
  }
  if (mine == nullptr) mine = new Poster(runtime::node());
  detail::my_lanes = &mine->lanes;
  return *mine;
}

[[noreturn]] void end_for_object(const Asker& asker, std::uint64_t object, const char* why) {
  runtime::end_for_misuse(asker.text() + " at the object", object, asker.site, why, {});
}

NodeId home_of(const Asker& asker, std::uint64_t object, std::size_t bytes) {
  const hints::Engine& engine = hints::engine();
  if (object == 0) end_for_object(asker, object, "a null pointer names no object");
  if (bytes > hints::kMostBytes) end_for_object(asker, object, "no object may have more than 64 MiB");
  if (object - engine.range_begin > engine.range_bytes - bytes) {
    end_for_object(
        asker, object,
        "it is not in the global heap but, say, on a stack, where no other node can find it (try dsm::make)");
  }
  const proto::ObjectPlace place = engine.objects.place(object, bytes);
  if (!place.scattered) return place.home;
  end_for_object(
      asker, object,
      engine.node.geometry.memory_nodes != 0
          ? "it lies on a memory node, which runs no functions: calls of several nodes need heaps of the "
            "nodes' own (try without --memory-nodes, or with -n 1)"
          : "it has several homes, as it crosses a border of interleaved memory: no node has it whole, to run "
            "a function on it (try memory that is not interleaved)");
}

bool is_held(const hints::Pin& pin) { return pin.borrow.stage == proto::BorrowStage::kHeld; }

// Objects that share a granule have one header, and so are had by one thread at a time.
bool is_same_granule(const hints::Pin& pin, std::uint64_t object) {
  return pin.address.load() / kObjectGranule == object / kObjectGranule;
}

void check_not_borrowed(const Asker& asker, std::uint64_t object, std::size_t bytes) {
  runtime::my_pins().for_each([&](const hints::Pin& pin) {
    const bool itself = pin.overlaps(object, bytes);
    if (!is_held(pin) || (!itself && !is_same_granule(pin, object))) return;
    runtime::end_for_misuse(asker.text() + " at the object", object, asker.site,
                            itself ? "the same thread has it borrowed already, and would wait for itself:"
                                   : "the same thread has borrowed another in its 64 bytes, and would wait for itself:",
                            pin.site);
  });
}

// --- batches --------------------------------------------------------------------------------------------------------

void Poster::open(NodeId home) {
  check_same_program(node_, home);
  Way& way = ways[home];
  way.ring = Call(node_, home, Operation::kCallOpen, {0, 0, 0}).wait();
  DSM_CHECK(way.ring != 0, "node {} has no memory for a ring of calls", home);
  net::Op look = net::read_op(net::Region::kMemory, offset(way.ring) + offsetof(Ring, doorbell), &way.doorbell, 8);
  const SignalsBlocked blocked;
  runtime::execute_or_end(node_, home, {&look, 1});
}

void Poster::begin_batch(NodeId home) {
  Way& way = ways[home];
  if (way.batch == nullptr) {
    void* const memory = ::mmap(nullptr, sizeof(RingSlot), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) end_without_memory("a batch of calls");
    way.batch = static_cast<RingSlot*>(memory);
    if (home != node_.self) open(home);
  }
  lanes.to[home] = {way.batch->runs, way.batch->runs + sizeof way.batch->runs, nullptr, nullptr};
}

std::byte* Poster::slot(std::uint64_t object, run_records run, std::size_t stride, std::size_t object_bytes) {
  const NodeId home = home_of(asker, object, object_bytes);
  call_lane& lane = lanes.to[home];
  const auto room = [&](std::size_t bytes) {
    return lane.at != nullptr && static_cast<std::size_t>(lane.end - lane.at) >= bytes;
  };
  if (lane.key != run || !room(stride)) {
    if (!room(sizeof(RunHead) + stride)) {
      send(home);
      begin_batch(home);
    }
    auto* const head = reinterpret_cast<RunHead*>(lane.at);
    *head = {offset_of(reinterpret_cast<const void*>(run)), static_cast<std::uint32_t>(stride), 0, object_bytes};
    lane.at += sizeof(RunHead);
    lane.key = run;
    lane.count = &head->count;
  }
  std::byte* const record = lane.at;
  lane.at += stride;
  ++*lane.count;
  return record;
}

// The lane is empty afterwards.
void Poster::send(NodeId home) {
  call_lane& lane = lanes.to[home];
  Way& way = ways[home];
  if (lane.at == nullptr || lane.at == way.batch->runs) return;
  RingSlot* const batch = way.batch;
  batch->bytes = static_cast<std::uint64_t>(lane.at - batch->runs);
  lane = {};
  if (home != node_.self) return put_into_ring(home, *batch);
  if (way.here.aside.load() >= kMostAside) await_none_aside();
  executor().run_batch({batch->runs, batch->bytes}, way.here);
}

void Poster::put_into_ring(NodeId home, RingSlot& batch) {
  Way& way = ways[home];
  while (way.sent - way.taken == kSlots) await_room(home);
  const std::uint64_t number = way.sent++;
  const std::uint64_t ready = way.sent;
  const std::uint64_t at = offset(way.ring);
  const std::uint64_t slot = at + offsetof(Ring, slots) + number % kSlots * sizeof(RingSlot);
  std::uint64_t asleep = 0;
  net::Op ops[] = {
      net::write_op(net::Region::kMemory, slot, &batch, static_cast<std::uint32_t>(sizeof batch.bytes + batch.bytes)),
      net::write_op(net::Region::kMemory, at + offsetof(Ring, ready), &ready, sizeof ready),
      net::read_op(net::Region::kMemory, offset(way.doorbell), &asleep, sizeof asleep)};
  const SignalsBlocked blocked;
  runtime::execute_or_end(node_, home, ops);
  count(node_.stats->op_write, 2);
  count(node_.stats->op_read);
  count(node_.stats->bytes_written, batch.bytes);
  if (asleep == 0) return;
  const runtime::RingMessage ring{};
  send_message(node_, home, pack(runtime::MessageType::kRing, ring).bytes(), net::Waiter::kService);
}

// --- waiting --------------------------------------------------------------------------------------------------------

void Poster::await_room(NodeId home) {
  Way& way = ways[home];
  net::Op look = net::read_op(net::Region::kMemory, offset(way.ring) + offsetof(Ring, taken), &way.taken, 8);
  {
    const SignalsBlocked blocked;
    runtime::execute_or_end(node_, home, {&look, 1});
  }
  if (way.sent - way.taken < kSlots || executor().help()) return;
  fence(home, way.sent - kSlots / 2, FenceWish::kTaken);
}

// What this thread has borrowed it keeps while it waits: a call of its own that is set aside for that never runs.
template <typename WaitsFor>
void Poster::check_own_borrows(NodeId home, WaitsFor waits_for) const {
  const runtime::Objects& objects = *node_.objects;
  runtime::my_pins().for_each([&](const hints::Pin& pin) {
    const std::uint64_t object = pin.address.load();
    if (!is_held(pin) || objects.place(object, pin.bytes.load()).home != home) return;
    if (!waits_for(object / kObjectGranule)) return;
    runtime::end_for_misuse(
        asker.text() + " waits for a posted call on", object, asker.site,
        "that call waits for the same thread's borrow of the object, or of another in its 64 bytes, which began",
        pin.site);
  });
}

// Runs calls of others while it waits: they may be what keeps the one that it waits for from going on.
void Poster::fence(NodeId home, std::uint64_t batches, FenceWish wish) {
  const auto ask = [&](std::uint64_t what, FenceWish about) {
    return std::array{ways[home].ring, what, static_cast<std::uint64_t>(about)};
  };
  Call call(node_, home, Operation::kCallFence, ask(batches, wish));
  while (!call.wait_for(0) && executor().help()) {
  }
  bool holds = false;
  runtime::my_pins().for_each([&](const hints::Pin& pin) { holds |= is_held(pin); });
  if (holds) {
    while (!call.wait_for(kLookNs)) {
      check_own_borrows(home, [&](std::uint64_t granule) {
        return Call(node_, home, Operation::kCallFence, ask(granule, FenceWish::kWaitsFor)).wait() != 0;
      });
    }
  }
  call.wait();
}

void Poster::await_none_aside() {
  const Source& source = ways[node_.self].here;
  check_own_borrows(node_.self, [&](std::uint64_t granule) { return executor().waits_for(source, granule); });
  executor().await_none_aside(source);
}

void Poster::finish(NodeId home) {
  Way& way = ways[home];
  send(home);
  if (home == node_.self) return await_none_aside();
  if (way.ended == way.sent) return;
  const std::uint64_t sent = way.sent;
  fence(home, sent, FenceWish::kRun);
  way.ended = sent;
}

// All go out first, so that the nodes work at the same time.
void Poster::finish_all() {
  const auto nodes = static_cast<NodeId>(node_.geometry.program_nodes());
  for (NodeId home = 0; home < nodes; ++home) {
    if (home != node_.self) send(home);
  }
  send(node_.self);
  for (NodeId home = 0; home < nodes; ++home) finish(home);
}

// The object's own node.
void call_here(std::byte* record, run_records run, std::size_t stride, std::uint64_t object, std::size_t bytes,
               void* result) {
  hints::Pin& pin = hints::borrow_mut(reinterpret_cast<void*>(object), bytes, {});
  void* const at = pin.data.load();
  run_call(run, &at, record, stride, 1, result);
  hints::end_hinted(pin, true);
}

}  // namespace
}  // namespace placed

void flush(dsm::source_location where) {
  if (placed::mine == nullptr) return;
  const placed::Asker asker{.what = "flush()", .site = {where.file_name(), where.line()}};
  placed::check_no_call(asker);
  placed::mine->asker = asker;
  placed::mine->finish_all();
}

namespace detail {

thread_local constinit call_lanes* my_lanes = nullptr;

std::uint64_t function_offset(const void* function) { return placed::offset_of(function); }
const void* function_of_offset(std::uint64_t offset) { return placed::function_at(offset); }

std::byte* call_slot(std::uint64_t object, run_records run, std::size_t stride, std::size_t object_bytes) {
  const placed::Asker asker{.what = "call_at_async", .from = __builtin_return_address(0)};
  placed::check_no_call(asker);
  placed::poster().asker = asker;
  return placed::poster().slot(object, run, stride, object_bytes);
}

void call_now(std::byte* record, run_records run, std::size_t stride, std::size_t object_bytes, void* result,
              std::size_t result_bytes) {
  runtime::Node& node = runtime::node();
  const placed::Asker asker{.what = "call_at", .from = __builtin_return_address(0)};
  placed::check_no_call(asker);
  std::uint64_t object = 0;
  std::memcpy(&object, record, sizeof object);
  const NodeId home = placed::home_of(asker, object, object_bytes);
  placed::check_not_borrowed(asker, object, object_bytes);
  if (placed::mine != nullptr) {
    placed::mine->asker = asker;
    placed::mine->finish(home);
  }
  if (home == node.self) return placed::call_here(record, run, stride, object, object_bytes, result);
  placed::check_same_program(node, home);
  const bool fits = stride <= runtime::Request::kMaxText && result_bytes <= sizeof(std::uint64_t);
  const placed::Parcel parcel = fits ? placed::Parcel() : placed::Parcel(node, std::max(stride, result_bytes));
  if (!fits) std::memcpy(parcel.data(), record, stride);
  const std::string_view text = fits ? std::string_view(reinterpret_cast<const char*>(record), stride) : "";
  const std::uint64_t function = placed::offset_of(reinterpret_cast<const void*>(run));
  DSM_CHECK(function >> 32 == 0, "a program of more than 4 GiB");
  runtime::Call call(node, home, runtime::Operation::kCallAt,
                     {function | object_bytes << 32, parcel.address(), stride | result_bytes << 32}, text);
  while (!call.wait_for(0) && placed::executor().help()) {
  }
  const std::uint64_t word = call.wait();
  if (result_bytes != 0) std::memcpy(result, fits ? static_cast<const void*>(&word) : parcel.data(), result_bytes);
}

void call_threw(const char* what) {
  log(LogLevel::kError, "placed",
      "a function that call_at runs has thrown an exception ({}): it must not, as nobody is there to catch it; the "
      "program ends",
      what);
  std::abort();
}

}  // namespace detail
}  // namespace dsm
